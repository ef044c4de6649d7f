#include "trajectory.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MOST_WEIGHTS 3000
#define MOST_FLOATS 1200
#define BATCH 5

static const tr_layer tanh_layers[] = {TR_SCALE(0.4f), TR_DENSE(1, 32), TR_TANH, TR_DENSE(32, 32),
                                       TR_TANH, TR_DENSE(32, 1)};
static const tr_layer relu_layers[] = {TR_DENSE(64, 32), TR_RELU, TR_DENSE(32, 10)};
static const tr_layer conv_layers[] = {TR_CONV1D(30, 6, 9, 5, 2), TR_RELU, TR_CONV1D(13, 9, 11, 3, 1),
                                       TR_TANH, TR_GLOBAL_AVERAGE_POOL(11, 11), TR_DENSE(11, 7)};
static const tr_layer odd_layers[] = {TR_DENSE(3, 5), TR_TANH, TR_SCALE(1.5f), TR_RELU,
                                      TR_DENSE(5, 13), TR_RELU, TR_DENSE(13, 3), TR_TANH};
static const tr_network networks[TRAJECTORIES] = {
    {tanh_layers, COUNT(tanh_layers), 1, TR_MSE},
    {relu_layers, COUNT(relu_layers), 64, TR_CROSS_ENTROPY},
    {conv_layers, COUNT(conv_layers), 180, TR_CROSS_ENTROPY},
    {odd_layers, COUNT(odd_layers), 3, TR_MSE},
    {conv_layers, COUNT(conv_layers), 180, TR_CROSS_ENTROPY}, /* minibatches from here on */
    {tanh_layers, COUNT(tanh_layers), 1, TR_MSE},
};

static float weights[MOST_WEIGHTS];
static float gradient[MOST_WEIGHTS];
static float workspace[MOST_FLOATS];
static float x[BATCH * 180];
static float targets[BATCH * 3];
static int32_t labels[BATCH];

/* Uniform in -1 ... 1. */
static float draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

static void fill(float *values, size_t n, uint32_t *state)
{
    for (size_t i = 0; i < n; i++) {
        values[i] = draw(state);
    }
}

static uint32_t hash(const float *values, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)values;
    uint32_t sum = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n * sizeof *values; i++) {
        sum = (sum ^ bytes[i]) * 16777619u;
    }
    return sum;
}

uint32_t trajectory(int which, int steps, tr_status *status)
{
    const tr_network *network = &networks[which];
    const int batches = which >= 4;
    const size_t count = batches ? BATCH : 1;
    uint32_t state = 2023u + (uint32_t)which;
    size_t size = 0;
    tr_model model;
    *status = tr_weight_count(&size, network);
    if (*status == TR_OK && size <= MOST_WEIGHTS) {
        fill(gradient, size, &state);
        for (size_t i = 0; i < size; i++) {
            gradient[i] *= 0.3f;
        }
        *status = tr_init(&model, network, weights, size, workspace, MOST_FLOATS);
    }
    if (*status == TR_OK) {
        *status = tr_reset(&model, gradient);
    }
    for (int i = 0; *status == TR_OK && i < steps / (int)count; i++) {
        tr_samples samples = {x, targets, labels, count};
        fill(x, count * network->inputs, &state);
        fill(targets, count * (model.outputs < 3u ? model.outputs : 3u), &state);
        for (size_t j = 0; j < count; j++) {
            labels[j] = (int32_t)((draw(&state) + 1.0f) * 0.5f * (float)model.outputs);
        }
        *status = batches ? tr_learn_minibatch(&model, NULL, gradient, &samples, 0.02f)
                          : tr_learn_online(&model, NULL, &samples, 0.02f);
    }
    return *status == TR_OK ? hash(weights, size) : 0u;
}
