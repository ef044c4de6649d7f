/* How many steps are refused, of many whose gradients are all but as large as the bound. */
#include <stdio.h>
#include <string.h>

#include "tinyreptile_core.h"

#define WIDTH 32
#define WEIGHTS (WIDTH + WIDTH + WIDTH * WIDTH + WIDTH + WIDTH + 1)
#define CASES 20000

static const tr_layer layers[] = {TR_DENSE(1, WIDTH), TR_TANH, TR_DENSE(WIDTH, WIDTH), TR_TANH,
                                  TR_DENSE(WIDTH, 1)};
static const tr_network network = {layers, 5, 1, TR_MSE};

int main(void)
{
    uint32_t state = 1;
    int refused = 0;
    uint32_t hash = 0;
    for (int i = 0; i < CASES; i++) {
        float weights[WEIGHTS] = {0.0f};
        float workspace[4 * WIDTH];
        float squares = 0.0f;
        for (int j = WEIGHTS - 1 - WIDTH; j < WEIGHTS - 1; j++) {
            state = state * 1664525u + 1013904223u;
            weights[j] = (float)(state >> 8) / 16777216.0f;
            squares += weights[j] * weights[j];
        }
        /* The hidden units are zero, so dx = 2 (0 - target) weights: squares of 1e24, nearly. */
        const float near = 1.0f + ((float)(i % 64) - 32.0f) / 16777216.0f;
        float root = 1.0f;
        for (int step = 0; step < 30; step++) {
            root = 0.5f * (root + squares / root);
        }
        const float x = 0.0f;
        const float target = 0.5f * TR_LIMIT / root * near;
        tr_model model;
        tr_status status = tr_init(&model, &network, weights, WEIGHTS, workspace, 4 * WIDTH);
        if (status == TR_OK) {
            status = tr_learn_value(&model, NULL, &x, &target, 0.0f);
        }
        refused += status == TR_ERR_OVERFLOW;
        hash = hash * 31u + (uint32_t)status;
    }
    printf("%d of %d refused, %08lx\n", refused, CASES, (unsigned long)hash);
    return 0;
}
