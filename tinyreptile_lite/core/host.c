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

/* One online step per sample, for each task. Returns how many tasks failed. */
EXPORT size_t tr_host_online(const visit *all, float rate)
{
    size_t failed = 0;
    for (size_t task = 0; task < all->tasks; task++) {
        tr_model model;
        tr_samples samples;
        tr_status status = prepare(&model, &samples, all, task);
        if (status == TR_OK) {
            status = tr_learn_online(&model, all->each, &samples, rate);
        }
        if (status == TR_OK) { /* after a failure not every sample has a loss */
            all->losses[task] = mean_of(all->each, all->count);
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
