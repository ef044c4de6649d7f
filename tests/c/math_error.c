/* Largest errors of the core's mathematics against double precision, in units in the last place. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tinyreptile_core.h"

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double ulps(float got, double wanted)
{
    const float near = fabsf((float)wanted);
    return fabs((double)got - wanted) / (double)(nextafterf(near, INFINITY) - near);
}

static double worst(float (*ours)(float), double (*exact)(double), float low, float high, int sign)
{
    double most = 0.0;
    uint32_t first;
    uint32_t last;
    memcpy(&first, &low, sizeof first);
    memcpy(&last, &high, sizeof last);
    for (uint32_t bits = first; bits <= last; bits += 401) {
        const float x = sign < 0 ? -from_bits(bits) : from_bits(bits);
        const double error = ulps(ours(x), exact((double)x));
        most = error > most ? error : most;
    }
    return most;
}

static double root(double x)
{
    return 1.0 / sqrt(x);
}

int main(void)
{
    int beyond = 0;
    for (float x = 0.0f; x < 40.0f; x += 1.0f / 8192.0f) {
        beyond += fabsf(tr_tanhf(x)) > 1.0f || fabsf(tr_tanhf(-x)) > 1.0f;
    }
    printf("tanh %.3f\n", worst(tr_tanhf, tanh, 1e-30f, 30.0f, 1));
    printf("tanh- %.3f\n", worst(tr_tanhf, tanh, 1e-30f, 30.0f, -1));
    printf("exp %.3f\n", worst(tr_expf, exp, 1e-30f, 88.7f, 1));
    printf("exp- %.3f\n", worst(tr_expf, exp, 1e-30f, 86.5f, -1));
    printf("log %.3f\n", worst(tr_logf, log, 1.1754944e-38f, 3.4028235e38f, 1));
    printf("rsqrt %.3f\n", worst(tr_rsqrtf, root, 1e-30f, 1e30f, 1));
    printf("beyond %d\n", beyond);
    return 0;
}
