/* Whole visits of the C core in one call, for tinyreptile_lite.core.native. */
#include <string.h>

#include "tinyreptile_core.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

/* One network, the samples of all tasks, and room for one model: shared by all tasks in turn. */
typedef struct {
    const tr_network *network;
    const float *x;        /* (tasks, count, inputs) */
    const float *targets;  /* (tasks, count, outputs), or NULL */
    const int32_t *labels; /* (tasks, count), or NULL */
    float *params;         /* (tasks, weight_count) */
    float *losses;         /* (tasks), receives the mean loss of each */
    float *each;           /* (count), online: the loss of each sample */
    int32_t *statuses;     /* (tasks), receives a tr_status each */
    float *workspace;      /* (workspace_floats) */
    float *gradient;       /* (weight_count) for minibatches */
    uint16_t *counts;      /* (outputs) for class means */
    size_t workspace_floats;
    size_t weight_count;
    size_t outputs;
    size_t tasks;
    size_t count;
} visit;

static tr_status prepare(tr_model *model, tr_samples *samples, const visit *all, size_t task)
{
    const size_t start = task * all->count;
    samples->x = all->x + start * all->network->inputs;
    samples->targets = all->targets ? all->targets + start * all->outputs : NULL;
    samples->labels = all->labels ? all->labels + start : NULL;
    samples->count = all->count;
    return tr_init(model, all->network, all->params + task * all->weight_count, all->weight_count,
                   all->workspace, all->workspace_floats);
}

static float mean_of(const float *values, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)values[i];
    }
    return (float)(sum / (double)n);
}

/* `passes` over the samples, one online step for each, with the first `frozen` layers kept as they
 * are; the loss is that of the first pass. Returns how many tasks failed. */
EXPORT size_t tr_host_online(const visit *all, size_t frozen, size_t passes, float rate)
{
    size_t failed = 0;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        tr_status status = prepare(&model, &samples, all, task);
        if (status == TR_OK && frozen > 0) {
            status = tr_freeze(&model, frozen);
        }
        for (size_t pass = 0; status == TR_OK && pass < passes; pass++) {
            status = tr_learn_online(&model, all->each, &samples, rate);
            if (status == TR_OK && pass == 0) { /* after a failure not every sample has a loss */
                all->losses[task] = mean_of(all->each, all->count);
            }
        }
        all->statuses[task] = (int32_t)status;
        failed += status != TR_OK;
    }
    return failed;
}

/* The first `for_head` samples step the head alone, the others the body alone; with 0 all layers step.
 * Returns how many tasks failed. */
EXPORT size_t tr_host_partial(const visit *all, size_t for_head, float head_rate, float rate)
{
    size_t failed = 0;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        tr_status status = prepare(&model, &samples, all, task);
        const size_t whole = samples.count;
        samples.count = for_head < whole ? for_head : whole;
        if (status == TR_OK && samples.count > 0) {
            status = tr_learn_part(&model, TR_HEAD);
        }
        if (status == TR_OK && samples.count > 0) {
            status = tr_learn_online(&model, all->each, &samples, head_rate);
        }
        const size_t done = samples.count;
        samples.x += done * all->network->inputs;
        samples.targets += samples.targets ? done * all->outputs : 0;
        samples.labels += samples.labels ? done : 0;
        samples.count = whole - done;
        if (status == TR_OK && done > 0 && samples.count > 0) {
            status = tr_learn_part(&model, TR_BODY);
        }
        if (status == TR_OK && samples.count > 0) {
            status = tr_learn_online(&model, all->each + done, &samples, rate);
        }
        if (status == TR_OK) {
            all->losses[task] = mean_of(all->each, whole);
        }
        all->statuses[task] = (int32_t)status;
        failed += status != TR_OK;
    }
    return failed;
}

/* One step with class means for each sample, for each task, and at the end, if `cosine`, means of
 * length 1. The loss is the mean of those that there are, or 0. Returns how many tasks failed. */
EXPORT size_t tr_host_prototypes(const visit *all, size_t cosine, float scale, float clip, float rate)
{
    size_t failed = 0;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        tr_prototypes prototypes = {all->counts, scale, clip, 0};
        size_t losses = 0;
        tr_status status = prepare(&model, &samples, all, task);
        if (status == TR_OK) {
            status = tr_reset_prototypes(&model, &prototypes);
        }
        for (size_t i = 0; status == TR_OK && i < all->count; i++) {
            float *loss = all->each + losses;
            status = tr_learn_prototype(&model, &prototypes, loss,
                                        samples.x + i * all->network->inputs, samples.labels[i], rate);
            losses += status == TR_OK && *loss >= 0.0f;
        }
        if (status == TR_OK && cosine) {
            status = tr_cosine_prototypes(&model, &prototypes);
        }
        all->losses[task] = losses > 0 ? mean_of(all->each, losses) : 0.0f;
        all->statuses[task] = (int32_t)status;
        failed += status != TR_OK;
    }
    return failed;
}

/* For each task its mean loss or, where the samples have labels, the share of the right ones, into
 * `losses`; the parameters stay as they are. Returns how many tasks failed. */
EXPORT size_t tr_host_score(const visit *all)
{
    size_t failed = 0;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        size_t correct = 0;
        tr_status status = prepare(&model, &samples, all, task);
        if (status == TR_OK) {
            status = tr_evaluate(&model, all->losses + task, &correct, &samples);
        }
        if (status == TR_OK && all->labels) {
            all->losses[task] = (float)correct / (float)all->count;
        }
        all->statuses[task] = (int32_t)status;
        failed += status != TR_OK;
    }
    return failed;
}

/* The samples are `epochs` times the same ones, shuffled; each epoch is cut into minibatches. The
 * loss is that of the first epoch's samples before the first step. Returns how many tasks failed. */
EXPORT size_t tr_host_minibatch(const visit *all, size_t epochs, size_t batch, float rate)
{
    size_t failed = 0;
    const size_t count = all->count / epochs;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        tr_status status = prepare(&model, &samples, all, task);
        samples.count = count;
        if (status == TR_OK) {
            status = tr_evaluate(&model, all->losses + task, NULL, &samples);
        }
        for (size_t done = 0; status == TR_OK && done < all->count; done += samples.count) {
            const size_t left = count - done % count;
            samples.count = left < batch ? left : batch;
            status = tr_learn_minibatch(&model, NULL, all->gradient, &samples, rate);
            samples.x += samples.count * all->network->inputs;
            samples.targets += samples.targets ? samples.count * all->outputs : 0;
            samples.labels += samples.labels ? samples.count : 0;
        }
        all->statuses[task] = (int32_t)status;
        failed += status != TR_OK;
    }
    return failed;
}
