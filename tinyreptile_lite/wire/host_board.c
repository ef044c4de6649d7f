/* The board's side of the wire format on this computer: the sources that run on the board, with
 * samples that come from Python. Bytes in, bytes out; `local.py` is the other half. */
#include <stdlib.h>
#include <string.h>

#include "tr_wire.h"

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

/* Fills x (samples, inputs) and target (samples, outputs) or label (samples); 1 if it could. */
typedef int (*draw_samples)(uint8_t source, uint32_t seed, uint16_t samples, float *x,
                            float *target, int32_t *label);

typedef struct {
    tr_network network;
    tr_model model;
    tr_client client;
    tr_client_about about;
    tr_client_io io;
    draw_samples draw;
    size_t inputs, outputs, next;
    float *weights, *workspace, *x, *target, *kept;
    uint32_t *room;
    uint8_t *receive, *transmit;
    float *drawn_x, *drawn_target;
    int32_t *drawn_label;
    uint8_t *sent; /* frames that nobody has taken yet */
    size_t sent_size, sent_room;
} host_board;

static void on_send(void *context, const uint8_t *frame, size_t size)
{
    host_board *board = context;
    if (board->sent_size + size > board->sent_room) {
        const size_t room = 2 * (board->sent_size + size);
        uint8_t *grown = realloc(board->sent, room);
        if (!grown) {
            return; /* lost, as on a full line */
        }
        board->sent = grown;
        board->sent_room = room;
    }
    memcpy(board->sent + board->sent_size, frame, size);
    board->sent_size += size;
}

static int on_begin(void *context, uint8_t source, uint32_t seed, uint16_t samples)
{
    host_board *board = context;
    free(board->drawn_x);
    free(board->drawn_target);
    free(board->drawn_label);
    board->drawn_x = calloc(samples * board->inputs, sizeof(float));
    board->drawn_target = calloc(samples * board->outputs, sizeof(float));
    board->drawn_label = calloc(samples, sizeof(int32_t));
    board->next = 0;
    return board->drawn_x && board->drawn_target && board->drawn_label
           && board->draw(source, seed, samples, board->drawn_x, board->drawn_target,
                          board->drawn_label);
}

static int on_sample(void *context, float *x, float *target, int32_t *label)
{
    host_board *board = context;
    const size_t n = board->next++;
    memcpy(x, board->drawn_x + n * board->inputs, board->inputs * sizeof *x);
    memcpy(target, board->drawn_target + n * board->outputs, board->outputs * sizeof *target);
    *label = board->drawn_label[n];
    return 1;
}

EXPORT void host_board_free(host_board *board)
{
    if (!board) {
        return;
    }
    void *owned[] = {board->weights, board->workspace, board->x, board->target, board->receive,
                     board->transmit, board->drawn_x, board->drawn_target, board->drawn_label,
                     board->sent, board->kept, board->room};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        free(owned[i]);
    }
    free(board);
}

static int allocate(host_board *board, size_t weights, size_t workspace, size_t chunk_floats)
{
    board->weights = calloc(weights, sizeof(float));
    board->workspace = calloc(workspace, sizeof(float));
    board->x = calloc(board->inputs, sizeof(float));
    board->target = calloc(board->outputs, sizeof(float));
    board->receive = malloc(TR_WIRE_PAYLOAD(chunk_floats));
    board->transmit = malloc(TR_WIRE_FRAME(chunk_floats));
    board->kept = calloc(weights, sizeof(float));
    board->room = calloc(TR_PACK_WORDS(weights), sizeof(uint32_t));
    return board->weights && board->workspace && board->x && board->target && board->receive
           && board->transmit && board->kept && board->room;
}

/* The network's layers stay the caller's and must outlive the board. NULL if anything does not
 * fit. */
EXPORT host_board *host_board_new(const tr_network *network, const tr_client_about *about,
                                  size_t chunk_floats, int packs, int feedback, draw_samples draw)
{
    host_board *board = calloc(1, sizeof *board);
    size_t weights, workspace, outputs;
    if (!board) {
        return NULL;
    }
    board->network = *network;
    board->about = *about;
    board->draw = draw;
    board->io = (tr_client_io){board, on_send, on_begin, on_sample};
    if (tr_weight_count(&weights, &board->network) || tr_workspace_size(&workspace, &board->network)
        || tr_output_count(&outputs, &board->network)) {
        host_board_free(board);
        return NULL;
    }
    board->inputs = network->inputs;
    board->outputs = outputs;
    if (!allocate(board, weights, workspace, chunk_floats)
        || tr_init(&board->model, &board->network, board->weights, weights, board->workspace,
                   workspace)
        || tr_client_init(&board->client, &board->model, &board->about, &board->io, board->receive,
                          TR_WIRE_PAYLOAD(chunk_floats), board->transmit,
                          TR_WIRE_FRAME(chunk_floats), board->x, board->target)
        || (packs && weights <= TR_PACK_MAX_WEIGHTS
            && tr_client_packing(&board->client, board->room, feedback ? board->kept : NULL))) {
        host_board_free(board);
        return NULL;
    }
    return board;
}

/* Give the board bytes; it works until it waits for more. Returns how many bytes it has sent. */
EXPORT size_t host_board_feed(host_board *board, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        tr_client_byte(&board->client, bytes[i]);
        if (bytes[i] == 0) {
            while (tr_client_poll(&board->client)) {
            }
        }
    }
    return board->sent_size;
}

/* Take what the board has sent: exactly as many bytes as host_board_feed returned. */
EXPORT void host_board_take(host_board *board, uint8_t *bytes)
{
    memcpy(bytes, board->sent, board->sent_size);
    board->sent_size = 0;
}

/* For counting what was learned how often. */
EXPORT uint32_t host_board_steps(const host_board *board)
{
    return board->model.steps;
}
