/* What tr_freeze keeps: the bits of frozen layers, in steps of one sample and of a minibatch; and,
 * if the convolution that would need it is the first that learns, the column in the workspace. */
#include <stdio.h>
#include <string.h>

#include "tinyreptile_core.h"

#define FIRST TR_CONV1D_WEIGHTS(3, 9, 4)
#define SECOND TR_CONV1D_WEIGHTS(9, 13, 3)
#define LAST TR_DENSE_WEIGHTS(13, 5)
#define WEIGHTS (FIRST + SECOND + LAST)
#define TIME 12
#define MIDDLE TR_CONV1D_TIME(TIME, 4, 1)
#define ACTIVATIONS (MIDDLE * 9 + TR_CONV1D_TIME(MIDDLE, 3, 2) * 13 + 13 + 5)
#define WORKSPACE (ACTIVATIONS + MIDDLE) /* the second convolution's column comes last */
#define BATCH 3

static const tr_layer layers[] = {TR_CONV1D(TIME, 3, 9, 4, 1), TR_RELU,
                                  TR_CONV1D(MIDDLE, 9, 13, 3, 2), TR_TANH,
                                  TR_GLOBAL_AVERAGE_POOL(TR_CONV1D_TIME(MIDDLE, 3, 2), 13),
                                  TR_DENSE(13, 5)};
static const tr_network network = {layers, 6, TIME * 3, TR_CROSS_ENTROPY};
static float phi[WEIGHTS];
static float weights[WEIGHTS];
static float gradient[WEIGHTS];
static float workspace[WORKSPACE];
static float x[BATCH * TIME * 3];
static const int32_t labels[BATCH] = {1, 4, 0};

static void fill(float *values, size_t n, float scale)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(state >> 8) / 8388608.0f - 1.0f) * scale;
    }
}

/* Learn with the first `frozen` layers kept; print how many weights of each layer have changed, how
 * many of their gradients are not zero, and how many floats of the column were written to. */
static int learn(size_t frozen, int batch)
{
    static const size_t ends[] = {0, FIRST, FIRST + SECOND, WEIGHTS};
    tr_model model;
    const tr_samples samples = {x, NULL, labels, BATCH};
    size_t written = 0;
    tr_status status = tr_init(&model, &network, weights, WEIGHTS, workspace, WORKSPACE);
    for (size_t i = 0; i < WORKSPACE; i++) {
        workspace[i] = 77.0f;
    }
    if (status == TR_OK) {
        status = tr_reset(&model, phi);
    }
    if (status == TR_OK) {
        status = tr_freeze(&model, frozen);
    }
    for (int step = 0; status == TR_OK && step < 20; step++) {
        status = batch ? tr_learn_minibatch(&model, NULL, gradient, &samples, 0.1f)
                       : tr_learn_online(&model, NULL, &samples, 0.1f);
    }
    printf("%s", tr_status_text(status));
    for (int layer = 0; layer < 3; layer++) {
        size_t changed = 0;
        for (size_t i = ends[layer]; i < ends[layer + 1]; i++) {
            changed += memcmp(weights + i, phi + i, sizeof *phi) != 0;
        }
        printf(" %s", changed == 0 ? "kept" : 2 * changed > ends[layer + 1] - ends[layer] ? "learnt" : "?");
    }
    for (size_t i = ACTIVATIONS; i < WORKSPACE; i++) {
        written += workspace[i] != 77.0f;
    }
    printf(" %s\n", written == MIDDLE ? "column" : written == 0 ? "no-column" : "?");
    return status;
}

int main(void)
{
    static const size_t frozen[] = {0, 1, 2, 3, 5};
    fill(phi, WEIGHTS, 0.4f);
    fill(x, BATCH * TIME * 3, 1.0f);
    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < 5; i++) {
            (void)learn(frozen[i], batch);
        }
    }
    tr_model model;
    const tr_status status = tr_init(&model, &network, weights, WEIGHTS, workspace, WORKSPACE);
    printf("%d %d\n", status, tr_freeze(&model, 6) == TR_ERR_NETWORK);
    return 0;
}
