#include "random_networks.h"

#define MOST_LAYERS 12
#define MOST_FLOATS 6000
#define MOST_INPUTS 360
#define MOST_OUTPUTS 64
#define BATCH 5
#define STEPS 120

static tr_layer layers[MOST_LAYERS];
static float phi[MOST_FLOATS];
static float weights[MOST_FLOATS];
static float gradient[MOST_FLOATS];
static float workspace[MOST_FLOATS];
static float x[BATCH * MOST_INPUTS];
static float targets[BATCH * MOST_OUTPUTS];
static int32_t labels[BATCH];
static uint32_t state;
static uint32_t sum;

/* A whole number in 0 ... n - 1. */
static uint32_t draw(uint32_t n)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
}

static void fill(float *values, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) {
        values[i] = ((float)draw(32768u) * (1.0f / 16384.0f) - 1.0f) * scale;
    }
}

/* FNV-1a, word by word. */
static void note(const void *values, size_t n)
{
    const uint32_t *words = values;
    for (size_t i = 0; i < n; i++) {
        sum = (sum ^ words[i]) * 16777619u;
        sum ^= sum >> 15;
    }
}

static uint16_t width(void)
{
    return (uint16_t)(draw(4) == 0 ? 1u + draw(MOST_OUTPUTS) : 1u + draw(20));
}

static size_t add_elementwise(size_t count)
{
    static const tr_layer kinds[] = {TR_TANH, TR_RELU, TR_SCALE(0.75f)};
    while (count < MOST_LAYERS && draw(5) < 3) {
        layers[count++] = kinds[draw(3)];
    }
    return count;
}

static tr_network draw_network(void)
{
    uint16_t time = (uint16_t)(draw(2) ? 1u : 2u + draw(22));
    uint16_t channels = (uint16_t)(1u + draw(time > 1u ? 10u : 40u));
    const uint16_t inputs = (uint16_t)(time * channels);
    size_t count = draw(4) == 0 ? add_elementwise(0) : 0;
    for (uint32_t left = 1 + draw(4); left > 0 && count < MOST_LAYERS; left--) {
        const uint16_t outputs = width();
        const uint32_t choice = time > 1u ? draw(6) : 5u;
        if (choice < 4u) {
            const uint16_t kernel = (uint16_t)(1u + draw(time < 8u ? time : 8u));
            const uint8_t stride = (uint8_t)(1u + draw(3));
            const tr_layer layer = TR_CONV1D(time, channels, outputs, kernel, stride);
            layers[count++] = layer;
            time = (uint16_t)TR_CONV1D_TIME(time, kernel, stride);
            channels = outputs;
        } else if (choice == 4u) {
            const tr_layer layer = TR_GLOBAL_AVERAGE_POOL(time, channels);
            layers[count++] = layer;
            time = 1;
        } else {
            const tr_layer layer = TR_DENSE((uint16_t)(time * channels), outputs);
            layers[count++] = layer;
            time = 1;
            channels = outputs;
        }
        count = add_elementwise(count);
    }
    const tr_network network = {layers, (uint16_t)count, inputs, draw(2) ? TR_MSE : TR_CROSS_ENTROPY};
    return network;
}

/* Layers that keep the shape (positions, channels). */
static size_t add_between(size_t count, uint16_t positions, uint16_t channels)
{
    while (count < MOST_LAYERS && draw(5) < 3) {
        const tr_layer kinds[] = {TR_TANH, TR_RELU, TR_SCALE(0.75f), TR_SILU,
                                  TR_LAYER_NORM(positions, channels)};
        layers[count++] = kinds[draw(5)];
    }
    return count;
}

static tr_network draw_image_network(void)
{
    uint16_t height = (uint16_t)(1u + draw(9));
    uint16_t columns = (uint16_t)(1u + draw(9));
    uint16_t channels = (uint16_t)(1u + draw(4));
    const uint16_t inputs = (uint16_t)(height * columns * channels);
    size_t count = draw(3) == 0 ? add_between(0, (uint16_t)(height * columns), channels) : 0;
    for (uint32_t left = 1 + draw(3); left > 0 && count < MOST_LAYERS; left--) {
        const uint16_t outputs = width();
        const uint8_t padding = (uint8_t)draw(3);
        const uint16_t kernel = (uint16_t)(padding + 1u + draw(3));
        const uint8_t stride = (uint8_t)(1u + draw(3));
        const uint8_t pool = (uint8_t)(draw(2) ? 1u : 1u + draw(3));
        const tr_layer layer =
            TR_CONV2D(height, columns, channels, outputs, kernel, stride, padding, pool,
                      (uint8_t)draw(2));
        layers[count++] = layer; /* if it does not fit, another network is drawn */
        if (kernel > height + 2u * padding || kernel > columns + 2u * padding) {
            break;
        }
        height = (uint16_t)TR_CONV2D_SIDE(height, kernel, stride, padding, pool);
        columns = (uint16_t)TR_CONV2D_SIDE(columns, kernel, stride, padding, pool);
        channels = outputs;
        count = add_between(count, (uint16_t)(height * columns), channels);
    }
    if (draw(4) && count < MOST_LAYERS) {
        const uint16_t outputs = width();
        const tr_layer layer = TR_DENSE((uint16_t)(height * columns * channels), outputs);
        layers[count++] = layer;
        count = add_between(count, 1, outputs);
    }
    const tr_network network = {layers, (uint16_t)count, inputs, draw(2) ? TR_MSE : TR_CROSS_ENTROPY};
    return network;
}

static void draw_samples(const tr_model *model, float scale)
{
    fill(x, (size_t)BATCH * model->network->inputs, scale);
    fill(targets, (size_t)BATCH * model->outputs, scale);
    for (size_t i = 0; i < BATCH; i++) {
        labels[i] = (int32_t)draw(model->outputs);
    }
}

static void note_status(tr_model *model, tr_status status)
{
    const int32_t code = (int32_t)status;
    note(&code, 1);
    if (status == TR_ERR_OVERFLOW) { /* weights of mixed age are not part of the promise */
        (void)tr_reset(model, phi);
    }
}

static void learn(tr_model *model, size_t steps, float rate, float scale)
{
    for (size_t i = 0; i < steps; i++) {
        float losses[BATCH] = {0.0f};
        const tr_samples samples = {x, targets, labels, 1 + draw(BATCH)};
        draw_samples(model, scale);
        if (i % 4 != 3) {
            note_status(model, tr_learn_online(model, losses, &samples, rate));
        } else {
            note_status(model, tr_learn_minibatch(model, losses, gradient, &samples, rate));
        }
        note(losses, samples.count);
    }
    note(weights, model->weight_count);
}

static void use(tr_model *model)
{
    const tr_samples samples = {x, targets, labels, BATCH};
    float output[MOST_FLOATS / 4] = {0.0f};
    float loss = 0.0f;
    size_t correct = 0;
    int32_t label = 0;
    draw_samples(model, 1.0f);
    note_status(model, tr_gradient(model, &loss, gradient, &samples));
    note(gradient, model->weight_count);
    note_status(model, tr_evaluate(model, &loss, &correct, &samples));
    note_status(model, tr_forward(model, output, x));
    note(output, model->outputs);
    note_status(model, tr_classify(model, &label, output, x));
    note(output, 1);
    note(&loss, 1);
    const uint32_t counts[] = {(uint32_t)correct, (uint32_t)label, model->steps};
    note(counts, 3);
}

uint32_t random_network(uint32_t seed, int images)
{
    tr_model model;
    size_t size = 0;
    size_t floats = 0;
    size_t outputs = 0;
    state = seed * 2654435761u + 1u;
    sum = 2166136261u;
    for (;;) { /* until one fits into the arrays */
        const tr_network network = images ? draw_image_network() : draw_network();
        if (tr_weight_count(&size, &network) != TR_OK || size > MOST_FLOATS
            || tr_workspace_size(&floats, &network) != TR_OK || floats > MOST_FLOATS
            || tr_output_count(&outputs, &network) != TR_OK || outputs > MOST_OUTPUTS) {
            continue;
        }
        fill(phi, size, draw(8) == 0 ? 3.0f : 0.3f);
        note_status(&model, tr_init(&model, &network, weights, size, workspace, floats));
        note_status(&model, tr_reset(&model, phi));
        learn(&model, STEPS, 0.02f, 1.0f);
        use(&model);
        note_status(&model, tr_freeze(&model, draw((uint32_t)network.layer_count + 1u)));
        learn(&model, STEPS / 2, 0.02f, 1.0f);
        use(&model);
        /* Runs away now and then, so that what is refused is compared too. */
        const float rate = draw(2) ? 50.0f : 0.5f;
        learn(&model, 8, rate, draw(2) ? 1e4f : 1.0f);
        (void)tr_reset(&model, phi);
        learn(&model, 8, draw(2) ? 900.0f : 1e-6f, 1e9f);
        return sum;
    }
}
