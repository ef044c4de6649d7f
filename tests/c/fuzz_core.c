/* Random bytes as networks, weights, samples and rates: nothing may crash, read or write outside
 * the arrays, or leave a weight that is not finite. Compile with sanitizers; run with
 * `fuzz_core SEED ROUNDS`, or link with libFuzzer and -DLIBFUZZER. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinyreptile_core.h"

#define MOST_LAYERS 8
#define MOST_FLOATS 20000

typedef struct {
    const uint8_t *data;
    size_t left;
} bytes;

static uint8_t byte(bytes *from)
{
    if (from->left == 0) {
        return 0;
    }
    from->left--;
    return *from->data++;
}

static uint16_t size16(bytes *from)
{
    const uint8_t kind = byte(from);
    if (kind < 200) {
        return kind % 12; /* small ones fit together now and then */
    }
    return (uint16_t)(byte(from) << 8 | byte(from));
}

static float number(bytes *from)
{
    const uint8_t kind = byte(from);
    uint32_t bits = 0;
    float value;
    if (kind < 240) {
        return ((float)kind - 120.0f) / 60.0f;
    }
    for (int i = 0; i < 4; i++) {
        bits = bits << 8 | byte(from);
    }
    memcpy(&value, &bits, sizeof value); /* NaN, infinities, denormals, huge ones */
    return value;
}

static float *numbers(bytes *from, size_t n)
{
    float *values = malloc(n * sizeof *values + 1);
    for (size_t i = 0; i < n; i++) {
        values[i] = number(from);
    }
    return values;
}

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

/* A network whose layers fit together half of the time: each takes what the one before gave. */
static void random_layers(bytes *from, tr_layer *layers, size_t count, uint16_t *inputs)
{
    uint16_t time = (uint16_t)(1 + byte(from) % 9);
    uint16_t channels = (uint16_t)(1 + byte(from) % 6);
    const int honest = byte(from) % 4 != 0;
    *inputs = honest ? (uint16_t)(time * channels) : size16(from);
    for (size_t i = 0; i < count; i++) {
        static const tr_functions *const functions[] = {&tr_silu, &tr_conv2d, &tr_layer_norm, NULL};
        tr_layer layer = {byte(from) % 11, byte(from),   byte(from),   byte(from) % 17,
                          size16(from),    size16(from), size16(from), size16(from),
                          size16(from),    byte(from) % 3, number(from),
                          functions[byte(from) % 4]};
        if (honest) {
            layer.kind = (uint8_t)(1 + layer.kind % 9);
            layer.functions = layer.kind == TR_KIND_SILU     ? &tr_silu
                              : layer.kind == TR_KIND_CONV2D ? &tr_conv2d
                                                             : &tr_layer_norm;
            layer.inputs = channels;
            layer.time = time;
            layer.outputs = (uint16_t)(1 + layer.outputs % 9);
            if (layer.kind == TR_KIND_DENSE) {
                layer.inputs = (uint16_t)(time * channels);
                layer.time = 1;
                layer.kernel = 0;
                time = 1;
                channels = layer.outputs;
            } else if (layer.kind == TR_KIND_CONV1D) {
                layer.kernel = (uint16_t)(1 + layer.kernel % time);
                layer.stride = (uint8_t)(1 + layer.stride % 3);
                time = (uint16_t)TR_CONV1D_TIME(time, layer.kernel, layer.stride);
                channels = layer.outputs;
            } else if (layer.kind == TR_KIND_CONV2D) { /* time as an image of one or more columns */
                layer.width = time % 3 == 0 ? 3 : time % 2 == 0 ? 2 : 1;
                layer.time = time / layer.width;
                layer.padding = (uint8_t)(layer.padding % 3);
                layer.kernel = (uint16_t)(1 + layer.padding + layer.kernel % 2);
                layer.stride = (uint8_t)(1 + layer.stride % 3);
                layer.pool = (uint8_t)(1 + layer.pool % 2);
                layer.bias = layer.bias % 2;
                time = (uint16_t)(TR_CONV2D_SIDE(layer.time, layer.kernel, layer.stride,
                                                 layer.padding, layer.pool)
                                  * TR_CONV2D_SIDE(layer.width, layer.kernel, layer.stride,
                                                   layer.padding, layer.pool));
                time = time > 0 ? time : 1; /* then it does not fit */
                channels = layer.outputs;
            } else if (layer.kind == TR_KIND_LAYER_NORM) {
                layer.width = 1;
                layer.outputs = channels;
            } else if (layer.kind == TR_KIND_GLOBAL_AVERAGE_POOL) {
                layer.outputs = channels;
                time = 1;
            }
        }
        layers[i] = layer;
    }
}

static int all_finite(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) {
            return 0;
        }
    }
    return 1;
}

/* One step with class means, now and then with a bad scale, clip or label. */
static void use_prototypes(bytes *from, tr_model *model, float *before, const float *x, float rate)
{
    uint16_t *counts = calloc(model->outputs, sizeof *counts);
    tr_prototypes means = {counts, number(from), number(from), 0};
    const size_t size = model->weight_count * sizeof *before;
    float loss = 0.0f;
    tr_status status = tr_reset_prototypes(model, &means);
    for (int step = 0; step < 8 && status != TR_ERR_OVERFLOW; step++) {
        const int32_t label = (int32_t)(byte(from) % (model->outputs + 1u));
        memcpy(before, model->weights, size);
        status = tr_learn_prototype(model, &means, &loss, x, label, rate);
        must(status == TR_OK || status == TR_ERR_OVERFLOW
                 || memcmp(before, model->weights, size) == 0,
             "a refused step left the weights alone");
        must(status != TR_OK || loss == -1.0f || loss >= 0.0f, "a loss is not negative");
        must(means.seen <= model->outputs, "there are no more means than classes");
    }
    (void)tr_cosine_prototypes(model, &means);
    free(counts);
}

static void use(bytes *from, tr_model *model, float *gradient, size_t size)
{
    const size_t count = 1 + byte(from) % 3;
    float *x = numbers(from, count * model->network->inputs);
    float *targets = numbers(from, count * model->outputs);
    int32_t labels[3];
    float output_or_loss = 0.0f;
    float *output = malloc(model->outputs * sizeof *output);
    float *before = malloc(size * sizeof *before);
    int32_t label = -1;
    size_t correct = 0;
    for (size_t i = 0; i < 3; i++) {
        labels[i] = byte(from) < 250 ? (int32_t)(byte(from) % model->outputs) : (int32_t)byte(from) - 99;
    }
    const tr_samples samples = {x, targets, labels, count};
    const int regression = model->network->loss == TR_MSE;
    const float rate = number(from);
    if (byte(from) % 4 == 0) {
        (void)tr_freeze(model, byte(from));
    }
    for (int step = 0; step < 4; step++) {
        tr_status status;
        memcpy(before, model->weights, size * sizeof *before);
        switch (byte(from) % 5) {
        case 4:
            use_prototypes(from, model, before, x, rate);
            break;
        case 0:
            status = regression ? tr_learn_value(model, &output_or_loss, x, targets, rate)
                                : tr_learn_label(model, &output_or_loss, x, labels[0], rate);
            if (status != TR_OK && status != TR_ERR_OVERFLOW) {
                must(memcmp(before, model->weights, size * sizeof *before) == 0,
                     "a refused step left the weights alone");
            }
            break;
        case 1:
            (void)tr_learn_online(model, NULL, &samples, rate);
            break;
        case 2:
            status = tr_learn_minibatch(model, &output_or_loss, gradient, &samples, rate);
            if (status != TR_OK) {
                must(memcmp(before, model->weights, size * sizeof *before) == 0,
                     "a refused minibatch left the weights alone");
            }
            break;
        default:
            must(tr_evaluate(model, &output_or_loss, &correct, &samples) != TR_OK
                     || (isfinite(output_or_loss) && correct <= count),
                 "an evaluation is finite");
            must(tr_forward(model, output, x) != TR_OK || all_finite(output, model->outputs),
                 "outputs are finite");
            must(tr_classify(model, &label, &output_or_loss, x) != TR_OK
                     || (label >= 0 && label < model->outputs && output_or_loss > 0.0f
                         && output_or_loss <= 1.0f),
                 "a label is in range, its probability in 0 ... 1");
            break;
        }
        must(all_finite(model->weights, size), "weights stay finite");
    }
    free(before);
    free(output);
    free(targets);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    bytes from = {data, length};
    tr_layer layers[MOST_LAYERS];
    tr_network network = {layers, 0, 0, 0};
    tr_model model;
    size_t size = 0;
    size_t floats = 0;
    size_t outputs = 0;
    network.layer_count = (uint16_t)(byte(&from) % (MOST_LAYERS + 1));
    network.loss = byte(&from) % 8 == 0 ? byte(&from) : (uint8_t)(1 + byte(&from) % 2);
    random_layers(&from, layers, network.layer_count, &network.inputs);
    const tr_status status = tr_weight_count(&size, &network);
    must(tr_workspace_size(&floats, &network) == status, "the sizes agree on the status");
    must(tr_output_count(&outputs, &network) == status, "the sizes agree on the status");
    must(status == TR_OK || (size == 0 && floats == 0 && outputs == 0), "no size of a bad network");
    if (status != TR_OK || size > MOST_FLOATS || floats > MOST_FLOATS) {
        return 0;
    }
    float *weights = numbers(&from, 0);
    weights = realloc(weights, size * sizeof *weights);
    float *workspace = malloc(floats * sizeof *workspace);
    float *gradient = malloc(size * sizeof *gradient);
    float *phi = numbers(&from, size);
    must(tr_init(&model, &network, weights, size, workspace, floats - 1) == TR_ERR_WORKSPACE,
         "too small a workspace is refused");
    must(tr_init(&model, &network, weights, size + 1, workspace, floats) == TR_ERR_WEIGHTS,
         "a wrong number of weights is refused");
    must(tr_init(&model, &network, weights, size, workspace, floats) == TR_OK, "a network fits");
    if (tr_reset(&model, phi) == TR_OK) {
        use(&from, &model, gradient, size);
    }
    free(phi);
    free(gradient);
    free(workspace);
    free(weights);
    return 0;
}

#ifndef LIBFUZZER
int main(int count, char **arguments)
{
    uint64_t state = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
    const long rounds = count > 2 ? strtol(arguments[2], NULL, 10) : 1000;
    uint8_t data[4096];
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof data; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            data[i] = (uint8_t)(state >> 56);
        }
        (void)LLVMFuzzerTestOneInput(data, sizeof data);
    }
    printf("%ld rounds\n", rounds);
    return 0;
}
#endif
