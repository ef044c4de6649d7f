/* TinyReptile: small neural networks that learn on a microcontroller, in portable C99.
 *
 * A network is a table of layers, constant and in flash. A model is a network together with the
 * memory it learns in: the weights and a workspace, both owned by the caller. Nothing here
 * allocates memory, keeps global state, or prints.
 *
 *     static const tr_layer layers[] = {TR_DENSE(1, 32), TR_TANH, TR_DENSE(32, 1)};
 *     static const tr_network sine = {layers, 3, 1, TR_MSE};
 *     static float weights[TR_DENSE_WEIGHTS(1, 32) + TR_DENSE_WEIGHTS(32, 1)];
 *     static float workspace[32 + 1];                 // one float per output of every layer
 *     static tr_model model;
 *
 *     tr_init(&model, &sine, weights, sizeof weights / sizeof *weights,
 *             workspace, sizeof workspace / sizeof *workspace);
 *     tr_reset(&model, phi);                          // start from the meta-learned weights
 *     tr_learn_value(&model, &loss, &x, &y, 0.02f);   // one online step; the sample may be dropped
 *
 * Weights: ONE flat vector, layers in order. A dense layer has its weight (inputs, outputs)
 * row-major, then its bias (outputs). A convolution has its weight (kernel, inputs, outputs)
 * row-major, then its bias (outputs); one over an image (kernel, kernel, inputs, outputs), then its
 * bias if it has one. A layer normalisation has its gain (channels), then its bias (channels). Samples of a
 * convolution are (time, channels) or (height, width, channels), row-major.
 *
 * Results: every sum has a fixed order and no multiplication is fused with an addition, so one
 * source gives the same bits on the board and on the host, at every optimisation level.
 *
 * Order of arguments: the model, outputs, inputs, sizes. Every function that can fail returns a
 * tr_status, and says below what has been changed when it fails. A pointer called "or NULL" is
 * optional; NULL for any other is TR_ERR_NULL. Arrays must not overlap.
 */
#ifndef TINYREPTILE_CORE_H
#define TINYREPTILE_CORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TR_VERSION "0.1.0"

/* ---- Status ---------------------------------------------------------------------------------- */

typedef enum {
    TR_OK = 0,
    TR_ERR_NULL,      /* a needed pointer is NULL */
    TR_ERR_NETWORK,   /* unknown layer or loss, or sizes that do not fit together */
    TR_ERR_WEIGHTS,   /* the weight or gradient array has not exactly as many floats as needed */
    TR_ERR_WORKSPACE, /* the workspace is too small; tr_workspace_size() says what it needs */
    TR_ERR_PHI,       /* the start weights hold NaN, an infinity or a number beyond TR_LIMIT */
    TR_ERR_RATE,      /* the learning rate is not in 0 ... TR_MAX_RATE */
    TR_ERR_SAMPLE,    /* the input holds NaN, an infinity or a number beyond TR_LIMIT */
    TR_ERR_TARGET,    /* the target does so, or is missing */
    TR_ERR_LABEL,     /* the label is not in 0 ... outputs - 1, or is missing */
    TR_ERR_DIVERGED,  /* the output or the loss is out of bounds: the step was NOT made */
    TR_ERR_OVERFLOW,  /* ... within the backward pass: last layers stepped, first ones did not */
    TR_ERR_ALIGNMENT  /* weights or workspace do not begin where a float may: a multiple of 4 */
} tr_status;

/* One short English line for a status; never NULL. */
const char *tr_status_text(tr_status status);

/* Numbers beyond this are taken as a fault of the sensor or as divergence. The sum of the squares
 * of a layer's values must stay below TR_LIMIT * TR_LIMIT; then no single step can bring a weight
 * anywhere near infinity. */
#define TR_LIMIT 1e12f
#define TR_MAX_RATE 1e3f

/* ---- Networks -------------------------------------------------------------------------------- */

typedef enum {
    TR_KIND_DENSE = 1,
    TR_KIND_CONV1D,
    TR_KIND_GLOBAL_AVERAGE_POOL, /* mean over time: (time, channels) becomes (channels) */
    TR_KIND_TANH,
    TR_KIND_RELU,
    TR_KIND_SCALE, /* multiply by a constant */
    TR_KIND_SILU,  /* x / (1 + exp(-x)) */
    TR_KIND_CONV2D,
    TR_KIND_LAYER_NORM /* over all numbers of a sample, with a gain and a bias for each channel */
} tr_kind;

typedef enum {
    TR_MSE = 1,       /* mean over samples and outputs of (output - target)^2 */
    TR_CROSS_ENTROPY  /* mean over samples of -log softmax(output)[label] */
} tr_loss;

/* What a kind of layer from TR_KIND_SILU on can do. A layer points to it, so that the linker takes
 * only the kinds that a network has. */
typedef struct tr_functions tr_functions;
extern const tr_functions tr_silu, tr_conv2d, tr_layer_norm;

/* One layer. Write it with the macros below, which leave what a kind does not use at zero. */
typedef struct {
    uint8_t kind;     /* a tr_kind */
    uint8_t stride;   /* convolutions: stride, ... */
    uint8_t padding;  /* ... zeros around an image, on each side, ... */
    uint8_t pool;     /* ... and the side of the squares of positions of which the largest is kept */
    uint16_t kernel;  /* convolutions: length, or side of a square */
    uint16_t time;    /* length of the input in time, or height of an image; else 1 */
    uint16_t width;   /* of an image */
    uint16_t inputs;  /* features, or channels of the input */
    uint16_t outputs; /* features, or channels of the output */
    uint8_t bias;     /* whether a convolution over an image has one */
    float factor;     /* scale only */
    const tr_functions *functions;
} tr_layer;

#define TR_DENSE(inputs, outputs) {TR_KIND_DENSE, 0, 0, 0, 0, 1, 0, inputs, outputs, 0, 0.0f, NULL}
#define TR_CONV1D(time, inputs, outputs, kernel, stride) \
    {TR_KIND_CONV1D, stride, 0, 0, kernel, time, 0, inputs, outputs, 0, 0.0f, NULL}
#define TR_GLOBAL_AVERAGE_POOL(time, channels) \
    {TR_KIND_GLOBAL_AVERAGE_POOL, 0, 0, 0, 0, time, 0, channels, channels, 0, 0.0f, NULL}
#define TR_TANH {TR_KIND_TANH, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0f, NULL}
#define TR_RELU {TR_KIND_RELU, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0f, NULL}
#define TR_SCALE(factor) {TR_KIND_SCALE, 0, 0, 0, 0, 0, 0, 0, 0, 0, factor, NULL}
#define TR_SILU {TR_KIND_SILU, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0f, &tr_silu}
/* Over an image (height, width, inputs), with `padding` zeros on each side. Of every square of
 * pool * pool positions only the largest output of each channel is kept; 1 keeps all. `bias` is 1, or
 * 0 for none. */
#define TR_CONV2D(height, width, inputs, outputs, kernel, stride, padding, pool, bias) \
    {TR_KIND_CONV2D, stride, padding, pool, kernel, height, width, inputs, outputs, bias, 0.0f, \
     &tr_conv2d}
#define TR_LAYER_NORM(positions, channels) \
    {TR_KIND_LAYER_NORM, 0, 0, 0, 0, positions, 1, channels, channels, 0, 0.0f, &tr_layer_norm}

/* A network: constant, usually generated by `tinyreptile export`. */
typedef struct {
    const tr_layer *layers;
    uint16_t layer_count;
    uint16_t inputs; /* numbers in one sample: features, time * channels, height * width * channels */
    uint8_t loss;    /* a tr_loss */
} tr_network;

/* Number of weights of one layer, at compile time. */
#define TR_DENSE_WEIGHTS(inputs, outputs) ((inputs) * (outputs) + (outputs))
#define TR_CONV1D_WEIGHTS(inputs, outputs, kernel) ((kernel) * (inputs) * (outputs) + (outputs))
#define TR_CONV2D_WEIGHTS(inputs, outputs, kernel, bias) \
    ((kernel) * (kernel) * (inputs) * (outputs) + (bias) * (outputs))
#define TR_LAYER_NORM_WEIGHTS(channels) (2 * (channels))
/* Length in time of a convolution's output, and side of the output over an image, at compile time. */
#define TR_CONV1D_TIME(time, kernel, stride) (((time) - (kernel)) / (stride) + 1)
#define TR_CONV2D_SIDE(side, kernel, stride, padding, pool) \
    ((((side) + 2 * (padding) - (kernel)) / (stride) + 1) / (pool))
/* The largest `pool`. */
#define TR_MAX_POOL 15

/* Largest number of floats in any one array; larger networks are TR_ERR_NETWORK. */
#define TR_MAX_FLOATS (1L << 24)

/* Number of weights, of workspace floats and of outputs. Checks the network in full.
 *
 * The workspace holds the output of every layer, where TANH, RELU and SCALE work in place unless
 * they come first or follow a TANH or RELU, and SILU does if it follows a LAYER_NORM. A LAYER_NORM
 * keeps 2 floats more, a convolution with a pool a byte for each output. Then comes what the layers
 * use in turn, so the largest counts: a convolution that sends a gradient back its input's length
 * in time, or 4 floats for each pixel of its image; one with a pool a float for each channel.
 *
 * Each result may be NULL. TR_ERR_NULL, TR_ERR_NETWORK: nothing is written. */
tr_status tr_weight_count(size_t *weights, const tr_network *network);
tr_status tr_workspace_size(size_t *floats, const tr_network *network);
tr_status tr_output_count(size_t *outputs, const tr_network *network);

/* ---- Models ---------------------------------------------------------------------------------- */

/* A network and its memory. Made by tr_init; read its fields, but do not write them. */
typedef struct {
    const tr_network *network;
    float *weights;        /* (weight_count) */
    float *workspace;      /* activations in the forward pass, their gradients in the backward */
    float *output;         /* the last layer's output, inside the workspace */
    uint32_t weight_count;
    uint32_t steps;        /* learning steps made since tr_init or tr_reset */
    uint16_t outputs;
    uint16_t first;        /* index of the first layer that learns */
    uint16_t held;         /* ... and of the first one that no longer does */
} tr_model;

/* Bind a network to memory. The arrays stay the caller's, must outlive the model, and `weights` is
 * left as it is: fill it with tr_reset. `weight_count` must be exact, the workspace may be larger.
 * Fails with TR_ERR_NULL, _NETWORK, _WEIGHTS, _WORKSPACE, _ALIGNMENT; then the model must not be used. */
tr_status tr_init(tr_model *model, const tr_network *network, float *weights, size_t weight_count,
                  float *workspace, size_t workspace_floats);

/* Copy the start weights `phi` (weight_count) into the model. TR_ERR_PHI: weights untouched. */
tr_status tr_reset(tr_model *model, const float *phi);

/* Keep the first `layers` layers as they are from now on; 0 lets all learn. A model whose
 * workspace suffices for full learning also suffices for this. TR_ERR_NETWORK if no layer with
 * weights is left to learn. */
tr_status tr_freeze(tr_model *model, size_t layers);

/* What learns from now on: all layers, the head alone (the last layer that has weights), or the body
 * alone (the layers before it), through which the gradient then still comes from the head. It takes
 * the place of tr_freeze. TR_ERR_NETWORK if there is no such part: the model must not learn. */
typedef enum { TR_ALL, TR_HEAD, TR_BODY } tr_part;
tr_status tr_learn_part(tr_model *model, tr_part part);

/* ---- Use ------------------------------------------------------------------------------------- */

/* Outputs (outputs) of the last layer for one sample x (inputs).
 * TR_ERR_SAMPLE, TR_ERR_DIVERGED: `output` untouched. */
tr_status tr_forward(tr_model *model, float *output, const float *x);

/* Most likely label of one sample, and its softmax probability (or NULL). Fails as tr_forward. */
tr_status tr_classify(tr_model *model, int32_t *label, float *probability, const float *x);

/* ---- Learning -------------------------------------------------------------------------------- */

/* One online SGD step on one sample: weights -= rate * gradient of its loss. The sample is not
 * kept. `loss` (or NULL) is the loss BEFORE the step. The first form is for TR_MSE, with
 * `target` (outputs); the second for TR_CROSS_ENTROPY.
 * Fails with TR_ERR_SAMPLE, _TARGET, _LABEL, _RATE, _DIVERGED: weights untouched; with
 * TR_ERR_OVERFLOW: weights finite but of mixed age, so call tr_reset. */
tr_status tr_learn_value(tr_model *model, float *loss, const float *x, const float *target,
                         float rate);
tr_status tr_learn_label(tr_model *model, float *loss, const float *x, int32_t label, float rate);

/* Several samples. Exactly one of `targets` and `labels` is used, after the network's loss. */
typedef struct {
    const float *x;        /* (count, inputs) */
    const float *targets;  /* (count, outputs) for TR_MSE, else NULL */
    const int32_t *labels; /* (count) for TR_CROSS_ENTROPY, else NULL */
    size_t count;
} tr_samples;

/* A whole visit: one online step per sample, in order. `losses` (count, or NULL) receives each
 * sample's loss before its step. Stops at the first sample that fails, with its status; the steps
 * before it stand, and model->steps tells how many were made. */
tr_status tr_learn_online(tr_model *model, float *losses, const tr_samples *samples, float rate);

/* One minibatch step on all samples together, as Reptile's clients make: the mean gradient goes
 * into `gradient` (weight_count floats, the caller's), then weights -= rate * gradient.
 * `loss` (or NULL) is the mean loss before the step. If it fails, the weights are untouched. */
tr_status tr_learn_minibatch(tr_model *model, float *loss, float *gradient,
                             const tr_samples *samples, float rate);

/* The mean gradient alone; layers below model->first receive zeros. Weights untouched. */
tr_status tr_gradient(tr_model *model, float *loss, float *gradient, const tr_samples *samples);

/* Mean loss, and for TR_CROSS_ENTROPY the number of samples whose most likely label is right, for
 * TR_MSE zero. Each result may be NULL. Weights untouched; on failure nothing is written. */
tr_status tr_evaluate(tr_model *model, float *loss, size_t *correct, const tr_samples *samples);

/* ---- Class means ----------------------------------------------------------------------------- */

/* Prototypes: a classifier whose last layer, dense, holds the running mean of the features (its
 * inputs) of each class. With mean m of class c it has weights 2 * scale * m and bias
 * -scale * |m|^2, so its outputs are -scale * |features - m|^2, but for a term common to all
 * classes: the most likely label is that of the nearest mean, for tr_classify as well.
 *
 *     static uint16_t counts[OUTPUTS];
 *     static tr_prototypes means = {counts, 0.05f, 1.0f, 0};
 *     tr_reset(&model, phi);
 *     tr_reset_prototypes(&model, &means);              // forget phi's head
 *     tr_learn_prototype(&model, &means, &loss, x, label, rate); */
typedef struct {
    uint16_t *counts; /* (outputs), the caller's: samples seen of each class */
    float scale;      /* of the squared distances, 1e-6 ... 100 */
    float clip;       /* longest gradient at the features, 1e-6 ... TR_LIMIT */
    uint16_t seen;    /* classes that have a mean */
} tr_prototypes;

/* A class without a mean has weights of zero and this bias, plus 8 times the lowest of the means': so
 * low that it is never the most likely one, and that online steps with samples of other classes
 * leave it alone, but not so low that phi would be spoiled by it, or a class that comes later. */
#define TR_UNSEEN -100.0f

/* Forget all classes. TR_ERR_NETWORK if the network is not for TR_CROSS_ENTROPY, or does not end with
 * a dense layer: nothing is changed. */
tr_status tr_reset_prototypes(tr_model *model, tr_prototypes *prototypes);

/* Learn from one sample, which is not kept. If its class has a mean, and another class too, the layers
 * before the last make an online step on the cross-entropy over the classes that have one, the means
 * taken as constant. In any case the mean of the class then takes in the features as they were
 * before the step. With rate 0, or all layers but the last frozen, only the means change, which needs
 * no backward pass. `loss` (or NULL) is the loss before the step, or -1 if there was no such step to
 * make.
 * Fails with TR_ERR_NETWORK, _SAMPLE, _LABEL, _RATE (or scale, or clip), _DIVERGED: nothing is
 * changed; with TR_ERR_OVERFLOW: weights finite but of mixed age, so call both reset functions. */
tr_status tr_learn_prototype(tr_model *model, tr_prototypes *prototypes, float *loss,
                             const float *x, int32_t label, float rate);

/* Give every mean length 1, and no bias: from then on the most likely label is that of the largest
 * cosine. Learn no more prototypes before the next tr_reset_prototypes. Fails as that. */
tr_status tr_cosine_prototypes(tr_model *model, const tr_prototypes *prototypes);

/* ---- Mathematics ----------------------------------------------------------------------------- */

/* Own versions, so that results do not depend on the C library of the day. No double arithmetic.
 * The largest errors, in units in the last place of the result, are checked by tests/test_core.py. */
float tr_tanhf(float x); /* hyperbolic tangent, within 6 units; never beyond +-1 */
float tr_expf(float x);  /* exp(x), within 1 unit; 0 below -86.5, infinity above 88.72 */
float tr_logf(float x);  /* natural logarithm of a normal number x > 0, within 1 unit */
float tr_rsqrtf(float x); /* 1 / square root of x, 1e-30 ... 1e30, within 2 units */

#ifdef __cplusplus
}
#endif

#endif
