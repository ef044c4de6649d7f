/* TinyReptile's wire format and the board's side of it, in portable C99.
 *
 * docs/wire-format.md is the specification; tinyreptile_lite/wire/frames.py is the same in
 * Python. Nothing here allocates memory, keeps global state or knows what the link is: bytes go
 * in one by one through tr_client_byte, whole frames come out through a function of yours.
 *
 *     static uint8_t receive[TR_WIRE_PAYLOAD(256)], transmit[TR_WIRE_FRAME(256)];
 *     static float x[1], target[1];
 *     static tr_client client;
 *
 *     tr_client_init(&client, &model, &about, &io, receive, sizeof receive,
 *                    transmit, sizeof transmit, x, target);
 *     for (;;) {
 *         while (Serial.available()) tr_client_byte(&client, Serial.read());
 *         tr_client_poll(&client);
 *     }
 *
 * What a peer sends is never trusted: a frame with a wrong CRC, length, kind or number is dropped
 * or answered with an error; weights that hold NaN or a huge number are refused before they touch
 * the model. A request that comes twice has the effect of one.
 */
#ifndef TR_WIRE_H
#define TR_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "tinyreptile_core.h"
#include "tr_pack.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TR_WIRE_VERSION 1  /* of most messages */
#define TR_WIRE_VERSION_2 2 /* of those that packed changes need: HELLO, PUSH, TRAIN, WELCOME, STATE */

/* ---- Frames ---------------------------------------------------------------------------------- */

/* Longest stuffed frame of a payload, its delimiter included. */
#define TR_WIRE_STUFFED(payload) ((payload) + 1 + (payload) / 254 + 1)
/* Payload of a chunk: header, tag, index, floats, CRC. */
#define TR_WIRE_PAYLOAD(floats) (2 + 3 + 4 * (floats) + 4)
#define TR_WIRE_FRAME(floats) TR_WIRE_STUFFED(TR_WIRE_PAYLOAD(floats))
#define TR_WIRE_MIN_FLOATS 8 /* a chunk is never smaller, so every other message fits as well */
#define TR_WIRE_MAX_CHUNKS 2048 /* of one weight vector */

/* CRC-32 as in zlib and Ethernet. Begin with crc = 0, go on with the last result. */
uint32_t tr_crc32(uint32_t crc, const void *bytes, size_t size);

/* Finds frames in a stream of bytes. */
typedef struct {
    uint8_t *payload; /* (capacity) the caller's */
    size_t capacity;
    size_t size;      /* bytes unstuffed so far */
    uint32_t damaged; /* frames dropped so far */
    uint8_t run;      /* bytes left in the run */
    uint8_t zero;     /* a zero comes before the next run */
    uint8_t begun;    /* something came since the last delimiter */
    uint8_t bad;      /* too long: wait for the delimiter */
} tr_frame_reader;

void tr_frame_reader_init(tr_frame_reader *reader, uint8_t *payload, size_t capacity);

/* Take one byte. If it completes a good frame, return how many bytes of header and fields are in
 * reader->payload, where they stay until the next byte; else 0. */
size_t tr_frame_byte(tr_frame_reader *reader, uint8_t byte);

/* Stuff a payload that lies at frame + tr_frame_gap(size): add its CRC-32, take out the zeros, end
 * with a delimiter. `size` is that of header and fields; four more bytes must be free behind them.
 * Returns the size of the frame. The array must have TR_WIRE_STUFFED(size + 4) bytes. */
size_t tr_frame_gap(size_t size);
size_t tr_frame_stuff(uint8_t *frame, size_t size);

/* ---- Messages -------------------------------------------------------------------------------- */

typedef enum {
    TR_WIRE_HELLO = 1, TR_WIRE_PUSH, TR_WIRE_CHUNK, TR_WIRE_TRAIN, TR_WIRE_PULL, TR_WIRE_EVALUATE,
    TR_WIRE_STATUS, TR_WIRE_ABORT, TR_WIRE_WELCOME, TR_WIRE_STATE, TR_WIRE_SCORE
} tr_wire_kind;

typedef enum {
    TR_EMPTY, TR_RECEIVING, TR_READY, TR_TRAINING, TR_TRAINED, TR_EVALUATING, TR_FAILED
} tr_client_state;

typedef enum { TR_SOURCE_SENSOR, TR_SOURCE_DATA } tr_source;

/* Errors in STATE; those below 32 are a tr_status, those above _SENSOR and below _PACKING the faults of
 * a sensor. */
enum {
    TR_WIRE_ERR_CRC = 32, TR_WIRE_ERR_SOURCE, TR_WIRE_ERR_SAMPLES, TR_WIRE_ERR_SENSOR,
    TR_WIRE_ERR_PACKING = 64
};

/* In PUSH and WELCOME of version 2. */
enum { TR_WIRE_FEEDBACK = 1, TR_WIRE_FORGET = 2 };

/* ---- The board's side ------------------------------------------------------------------------ */

/* What the board says of itself. */
typedef struct {
    uint8_t board_id[8]; /* no two boards have the same */
    uint8_t network[8];  /* first bytes of the network's fingerprint */
    uint8_t sources;     /* bit 1 << tr_source for each that it has */
    uint8_t window;      /* chunks it can take without having confirmed one */
} tr_client_about;

/* What the board can do; every function gets `context`. */
typedef struct {
    void *context;
    /* Send one whole frame. What cannot be sent is lost, and asked for again by the server. */
    void (*send)(void *context, const uint8_t *frame, size_t size);
    /* A training or an evaluation on `samples` samples begins: 1, or 0 if there is no such source.
     * The same seed must give the same samples, unless they come from a sensor. */
    int (*begin)(void *context, uint8_t source, uint32_t seed, uint16_t samples);
    /* Give the next sample: 1 if there is one, 0 if not yet, -1 if there will be none; -1 minus a
     * fault of tr_sensor.h says why. `target` is for TR_MSE, `label` for TR_CROSS_ENTROPY. */
    int (*sample)(void *context, float *x, float *target, int32_t *label);
} tr_client_io;

/* Read its fields, but do not write them. */
typedef struct {
    tr_model *model;
    const tr_client_about *about;
    const tr_client_io *io;
    tr_frame_reader reader;
    uint8_t *transmit;
    float *x, *target;
    uint16_t board_floats; /* largest chunk that the buffers hold */
    uint16_t chunk_floats; /* as agreed in the hello */
    uint16_t chunks;       /* of the weight vector */
    uint8_t state;         /* a tr_client_state */
    uint8_t resume;        /* state to go back to after an evaluation */
    uint8_t error;
    uint8_t fresh;         /* a session began: any PUSH is newer than the visit */
    uint32_t session;
    uint32_t round, nonce, crc; /* of the visit; nonce 0: there was none */
    uint16_t attempt;
    uint32_t have[TR_WIRE_MAX_CHUNKS / 32]; /* a bit for each chunk that came */
    float rate, head_rate;
    uint16_t head_samples;           /* of the training: the first so many rebuild the head */
    uint16_t samples, done, correct; /* of the training or evaluation */
    float loss_sum, loss;            /* mean loss of the last training */
    uint32_t result_crc;             /* CRC-32 of the weights that can be pulled */
    uint32_t score_seed;             /* of the last evaluation: asked again, answered again */
    uint16_t score_samples, score_correct;
    uint8_t score_source, scored;
    float score_loss;
    uint16_t pull_first;
    uint32_t pull_mask;              /* chunks still to be sent */
    uint32_t result_size;            /* bytes that can be pulled: of the weights, or of the changes */
    /* Packed changes, if tr_client_packing was called. */
    uint32_t *room;       /* phi in float16, then the packed changes */
    float *kept;          /* what was not sent; or NULL */
    uint8_t version;      /* of the server's hello */
    tr_packing packing;   /* of the visit; 0 bits: it sends its weights */
    uint32_t packed;      /* nonce of the visit whose changes are in the room, or 0 */
    uint32_t packed_size;
} tr_client;

/* Bind a client to its model and its memory; all stay the caller's and must outlive it. `x` has
 * room for one sample, `target` for the model's outputs. The buffers decide on the largest chunk:
 * TR_WIRE_PAYLOAD(floats) and TR_WIRE_FRAME(floats) bytes for the same number of floats.
 * TR_ERR_NULL, TR_ERR_WORKSPACE (a buffer is too small), TR_ERR_WEIGHTS (too many chunks). */
tr_status tr_client_init(tr_client *client, tr_model *model, const tr_client_about *about,
                         const tr_client_io *io, uint8_t *receive, size_t receive_size,
                         uint8_t *transmit, size_t transmit_size, float *x, float *target);

/* Let the client send packed changes: room for TR_PACK_WORDS(weights) words and, for error feedback,
 * `kept` (weights) or NULL. Without this call it speaks version 1 and sends whole weights.
 * TR_ERR_NULL, TR_ERR_WEIGHTS (more than TR_PACK_MAX_WEIGHTS). */
tr_status tr_client_packing(tr_client *client, uint32_t *room, float *kept);

/* Take one byte from the link; acts on the frame that it completes. */
void tr_client_byte(tr_client *client, uint8_t byte);

/* Do one small piece of pending work: send a chunk, or learn from or evaluate one sample.
 * Returns 1 if there is more to do, 0 if the client waits for its peer. */
int tr_client_poll(tr_client *client);

#ifdef __cplusplus
}
#endif

#endif
