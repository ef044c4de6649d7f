/* Throw mutated frames at the board's side of the wire format, under ASan and UBSan.
 *
 *     cc -std=c99 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -I SRC \
 *         fuzz_wire.c SRC/tr_wire.c SRC/tinyreptile_core.c -o fuzz_wire
 *     ./fuzz_wire FRAMES SEED
 *
 * Every frame is built well, with numbers that often fit the board's state, and then, half of the
 * time, damaged: before its CRC is made, so that nonsense gets in, or after. All memory has its
 * exact size, so that a byte too far is seen. Checked after every frame: weights are finite, the
 * state is a state, and what the board sent are good frames. Prints how often each state and each
 * kind of answer was seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tr_wire.h"

#define FLOATS 8 /* in a chunk */
#define WEIGHTS (TR_DENSE_WEIGHTS(1, 8) + TR_DENSE_WEIGHTS(8, 1))
#define CHUNKS ((WEIGHTS + FLOATS - 1) / FLOATS)

static uint64_t random_state;

static uint32_t any(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static uint32_t below(uint32_t limit)
{
    return any() % limit;
}

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz_wire: %s\n", what);
        abort();
    }
}

/* ---- The board ------------------------------------------------------------------------------- */

static tr_frame_reader answers;
static unsigned long answered[16], states[8];

static void on_send(void *context, const uint8_t *frame, size_t size)
{
    (void)context;
    must(size <= TR_WIRE_FRAME(FLOATS), "the board sent too long a frame");
    for (size_t i = 0; i < size; i++) {
        const size_t content = tr_frame_byte(&answers, frame[i]);
        must((content > 0) == (i + 1 == size), "the board sent a bad frame");
    }
    answered[answers.payload[1] & 15]++;
}

static int on_begin(void *context, uint8_t source, uint32_t seed, uint16_t samples)
{
    (void)context, (void)source, (void)seed;
    return samples % 7 != 3;
}

static int on_sample(void *context, float *x, float *target, int32_t *label)
{
    (void)context;
    const float choices[] = {0.5f, -1.0f, 3.0f, 1e30f};
    *x = choices[below(64) ? below(3) : 3];
    *target = choices[below(3)];
    *label = 0;
    return below(32) ? (int)below(16) > 0 : -1;
}

/* ---- Frames ---------------------------------------------------------------------------------- */

static float pushed[WEIGHTS];

static uint8_t *put(uint8_t *to, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *to++ = (uint8_t)(value >> 8 * i);
    }
    return to;
}

static uint8_t *put_chunk(uint8_t *to, uint32_t index)
{
    to = put(to, index, 2);
    if (index >= CHUNKS) {
        return put(to, any(), 4);
    }
    const uint32_t left = WEIGHTS - index * FLOATS;
    const size_t size = 4 * (left < FLOATS ? left : FLOATS);
    memcpy(to, pushed + index * FLOATS, size);
    if (below(200) == 0) {
        memcpy(to, "\0\0\xc0\x7f", 4); /* NaN */
    }
    return to + size;
}

/* Header and fields of a request, its numbers small so that they often meet. */
static size_t make_request(uint8_t *payload)
{
    static uint32_t round_now, nonce = 1;
    const float rate = below(20) ? 0.01f : -1.0f;
    uint32_t rate_bits;
    memcpy(&rate_bits, &rate, 4);
    const uint32_t weighted[] = {1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8};
    const uint32_t kind = below(50) ? weighted[below(15)] : any();
    uint8_t *to = payload;
    to = put(to, below(200) ? TR_WIRE_VERSION : any(), 1);
    to = put(to, kind, 1);
    switch (kind) {
    case TR_WIRE_HELLO:
        to = put(put(to, below(40) ? 1 : any(), 4), below(40) ? TR_WIRE_FRAME(FLOATS) : any(), 2);
        break;
    case TR_WIRE_PUSH:
        if (below(30) == 0) {
            round_now += below(3);
            nonce = 1 + below(3);
        }
        to = put(put(to, round_now, 4), below(2), 2);
        to = put(put(to, nonce, 4), tr_crc32(0, pushed, sizeof pushed), 4);
        break;
    case TR_WIRE_CHUNK:
        to = put_chunk(put(to, nonce, 1), below(CHUNKS + (below(20) == 0)));
        break;
    case TR_WIRE_TRAIN:
        to = put(put(to, nonce, 4), rate_bits, 4);
        to = put(put(put(to, below(30), 2), any(), 4), below(30) ? 1 : any(), 1);
        break;
    case TR_WIRE_PULL:
        to = put(put(put(to, nonce, 4), below(CHUNKS), 2), any(), 4);
        break;
    case TR_WIRE_EVALUATE:
        to = put(put(to, nonce, 4), below(3), 4);
        to = put(put(to, below(10), 2), 1, 1);
        break;
    case TR_WIRE_ABORT:
        to = put(to, below(10) ? 0 : nonce, 4);
        break;
    default:
        break;
    }
    return (size_t)(to - payload);
}

static size_t mutate(uint8_t *bytes, size_t size, size_t room)
{
    const uint32_t at = below((uint32_t)size);
    switch (below(5)) {
    case 0: bytes[at] ^= (uint8_t)(1u << below(8)); return size;
    case 1: bytes[at] = (uint8_t)any(); return size;
    case 2: bytes[at] = 0xff; return size;
    case 3: return at > 0 ? at : size;
    default:
        if (size + 1 < room) {
            memmove(bytes + at + 1, bytes + at, size - at);
            return size + 1;
        }
        return size;
    }
}

static void feed(tr_client *client, const uint8_t *frame, size_t size)
{
    uint8_t *exact = malloc(size); /* reading past its end is seen */
    must(exact != NULL, "no memory");
    memcpy(exact, frame, size);
    for (size_t i = 0; i < size; i++) {
        tr_client_byte(client, exact[i]);
    }
    free(exact);
}

static void check(const tr_client *client)
{
    must(client->state <= TR_FAILED, "no such state");
    must(client->done <= client->samples, "more samples than asked for");
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        const float w = client->model->weights[i];
        must(w - w == 0.0f, "a weight is not finite");
    }
    states[client->state]++;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: fuzz_wire FRAMES SEED\n");
        return 2;
    }
    const unsigned long count = strtoul(argv[1], NULL, 10);
    random_state = 0x9e3779b97f4a7c15u ^ strtoul(argv[2], NULL, 10) << 1;
    static const tr_layer layers[] = {TR_DENSE(1, 8), TR_TANH, TR_DENSE(8, 1)};
    static const tr_network network = {layers, 3, 1, TR_MSE};
    static const tr_client_about about = {{1}, {2}, 2, 4};
    static const tr_client_io io = {NULL, on_send, on_begin, on_sample};
    static float workspace[9];
    static tr_model model;
    static tr_client client;
    float *weights = calloc(WEIGHTS, sizeof(float)), *x = malloc(sizeof(float));
    float *target = malloc(sizeof(float));
    uint8_t *receive = malloc(TR_WIRE_PAYLOAD(FLOATS)), *transmit = malloc(TR_WIRE_FRAME(FLOATS));
    uint8_t *answer = malloc(TR_WIRE_PAYLOAD(FLOATS));
    must(weights && x && target && receive && transmit && answer, "no memory");
    for (int i = 0; i < WEIGHTS; i++) {
        pushed[i] = 0.01f * (float)(i - 9);
    }
    must(tr_init(&model, &network, weights, WEIGHTS, workspace, 9) == TR_OK, "tr_init");
    must(tr_client_init(&client, &model, &about, &io, receive, TR_WIRE_PAYLOAD(FLOATS), transmit,
                        TR_WIRE_FRAME(FLOATS), x, target) == TR_OK, "tr_client_init");
    tr_frame_reader_init(&answers, answer, TR_WIRE_PAYLOAD(FLOATS));
    for (unsigned long i = 0; i < count; i++) {
        uint8_t frame[256], *content;
        const uint32_t damage = below(4); /* 0, 1: none; 2: before the CRC; 3: after it */
        uint8_t request[128];
        size_t size = make_request(request);
        if (damage == 2) {
            size = mutate(request, size, sizeof request);
        }
        content = frame + tr_frame_gap(size);
        memcpy(content, request, size);
        size = tr_frame_stuff(frame, size);
        if (damage == 3) {
            size = mutate(frame, size, sizeof frame);
        }
        feed(&client, frame, size);
        for (uint32_t work = below(40); work > 0 && tr_client_poll(&client); work--) {
        }
        check(&client);
    }
    printf("{\"frames\": %lu, \"damaged\": %lu, \"states\": [", count,
           (unsigned long)client.reader.damaged);
    for (int i = 0; i <= TR_FAILED; i++) {
        printf("%s%lu", i ? ", " : "", states[i]);
    }
    printf("], \"answers\": {\"chunk\": %lu, \"welcome\": %lu, \"state\": %lu, \"score\": %lu}}\n",
           answered[TR_WIRE_CHUNK], answered[TR_WIRE_WELCOME], answered[TR_WIRE_STATE],
           answered[TR_WIRE_SCORE]);
    free(weights), free(x), free(target), free(receive), free(transmit), free(answer);
    return 0;
}
