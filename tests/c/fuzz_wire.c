/* Throw mutated frames at the board's side of the wire format, under ASan and UBSan.
 *
 *     cc -std=c99 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -I SRC \
 *         fuzz_wire.c SRC/tr_wire.c SRC/tr_pack.c SRC/tinyreptile_core.c -o fuzz_wire
 *     ./fuzz_wire FRAMES SEED
 *
 * Every frame is built well, with numbers that often fit the board's state, and then, half of the
 * time, damaged: before its CRC is made, so that nonsense gets in, or after. All memory has its
 * exact size, so that a byte too far is seen. There are three boards, which take turns: one
 * that speaks version 1 only, one that packs changes, and one that keeps what it has not sent.
 * Checked after every frame: weights and what is kept are finite, the state is a state, and what
 * the board sent are good frames. Packed changes, also damaged, are read as well. Prints how often
 * each state and each kind of answer was seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tr_wire.h"

#define FLOATS 8 /* in a chunk */
#define WEIGHTS (TR_DENSE_WEIGHTS(1, 8) + TR_DENSE_WEIGHTS(8, 1))
#define BOARDS 3
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
static unsigned long answered[16], states[8], packed, unpacked[2];

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
static uint16_t pushed_half[WEIGHTS];
static int halves; /* the visit's phi comes in float16 */

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
    const uint8_t *from = halves ? (const uint8_t *)pushed_half : (const uint8_t *)pushed;
    const size_t all = halves ? sizeof pushed_half : sizeof pushed, at = 4 * FLOATS * index;
    const size_t size = at >= all ? 0 : all - at < 4 * FLOATS ? all - at : 4 * FLOATS;
    memset(to, 0, size + 2);
    memcpy(to, from + at, size);
    if (below(200) == 0) {
        memcpy(to, "\0\0\xc0\x7f", 4); /* NaN, also in float16 */
    }
    return to + (size + 3) / 4 * 4;
}

/* What version 2 adds to a PUSH. */
static uint8_t *put_packing(uint8_t *to, uint32_t bits, uint32_t nonce)
{
    const uint32_t limit = below(30) ? WEIGHTS - below(2) * 9 : any();
    to = put(put(to, bits, 1), below(30) ? below(2) : below(4), 1);
    to = put(put(to, limit, 4), below(30) ? 1 + below(limit ? limit : 1) : any(), 4);
    return put(to, below(4) ? nonce - below(2) : any(), 4);
}

/* Header and fields of a request, its numbers small so that they often meet. */
static size_t make_request(uint8_t *payload)
{
    static uint32_t round_now, nonce = 1, bits = 32;
    const float rate = below(20) ? 0.01f : -1.0f;
    uint32_t rate_bits;
    memcpy(&rate_bits, &rate, 4);
    const uint32_t weighted[] = {1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8};
    const uint32_t kind = below(50) ? weighted[below(15)] : any();
    uint8_t *to = payload;
    const int second = kind == TR_WIRE_PUSH ? bits != 32 || below(9) == 0
                       : kind == TR_WIRE_HELLO || kind == TR_WIRE_TRAIN ? below(4) > 0
                                                                        : below(200) == 0;
    to = put(to, below(200) ? 1u + (uint32_t)second : any(), 1);
    to = put(to, kind, 1);
    switch (kind) {
    case TR_WIRE_HELLO:
        to = put(put(to, below(40) ? 1 : any(), 4), below(40) ? TR_WIRE_FRAME(FLOATS) : any(), 2);
        break;
    case TR_WIRE_PUSH:
        if (below(30) == 0) {
            const uint32_t choices[] = {8, 8, 16, 32, 4};
            round_now += below(3);
            nonce = 1 + below(3);
            bits = choices[below(below(9) ? 4 : 5)];
            halves = bits != 32;
        }
        to = put(put(to, round_now, 4), below(2), 2);
        to = put(put(to, nonce, 4), halves ? tr_crc32(0, pushed_half, sizeof pushed_half)
                                           : tr_crc32(0, pushed, sizeof pushed), 4);
        to = second ? put_packing(to, bits, nonce) : to;
        break;
    case TR_WIRE_CHUNK:
        to = put_chunk(put(to, nonce, 1), below(CHUNKS + (below(20) == 0)));
        break;
    case TR_WIRE_TRAIN:
        to = put(put(to, nonce, 4), rate_bits, 4);
        to = put(put(put(to, below(30), 2), any(), 4), below(30) ? 1 : any(), 1);
        to = second ? put(put(to, below(40), 2), rate_bits, 4) : to;
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

static void must_be_finite(const float *numbers, const char *what)
{
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        must(numbers[i] - numbers[i] == 0.0f, what);
    }
}

static void check(const tr_client *client)
{
    must(client->state <= TR_FAILED, "no such state");
    must(client->done <= client->samples, "more samples than asked for");
    must_be_finite(client->model->weights, "a weight is not finite");
    if (client->kept) {
        must_be_finite(client->kept, "what is kept is not finite");
    }
    states[client->state]++;
}

/* What the board packed can be read; with damage it is read or refused, and then adds nothing. */
static void read_packed(const tr_client *client)
{
    static float target[WEIGHTS];
    size_t size = client->packed_size;
    must(size <= sizeof(uint32_t) * TR_PACK_WORDS(WEIGHTS), "the packed changes are too long");
    uint8_t *bytes = malloc(size + 1);
    must(bytes != NULL, "no memory");
    memcpy(bytes, client->room, size);
    memset(target, 0, sizeof target);
    must(tr_unpack(target, client->packing.limit, bytes, size), "what is packed cannot be read");
    must_be_finite(target, "a packed change is not finite");
    for (uint32_t damage = 1 + below(3); damage > 0; damage--) {
        size = mutate(bytes, size, size + 1);
    }
    uint8_t *exact = malloc(size);
    must(exact != NULL, "no memory");
    memcpy(exact, bytes, size);
    memset(target, 0, sizeof target);
    const int good = tr_unpack(target, below(9) ? client->packing.limit : below(WEIGHTS), exact, size);
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        must(good ? target[i] - target[i] == 0.0f : target[i] == 0.0f, "damage was added");
    }
    unpacked[good]++;
    free(exact), free(bytes);
}

/* A board of its own memory: 0 speaks version 1, 1 packs changes, 2 keeps what was not sent. */
typedef struct {
    tr_model model;
    tr_client client;
    float *weights, *workspace, *x, *target, *kept;
    uint32_t *room;
    uint8_t *receive, *transmit;
} board;

static void make_board(board *made, int abilities)
{
    static const tr_layer layers[] = {TR_DENSE(1, 8), TR_TANH, TR_DENSE(8, 1)};
    static const tr_network network = {layers, 3, 1, TR_MSE};
    static const tr_client_about about = {{1}, {2}, 2, 4};
    static const tr_client_io io = {NULL, on_send, on_begin, on_sample};
    made->weights = calloc(WEIGHTS, sizeof(float));
    made->workspace = malloc(9 * sizeof(float));
    made->x = malloc(sizeof(float));
    made->target = malloc(sizeof(float));
    made->kept = malloc(WEIGHTS * sizeof(float));
    made->room = malloc(TR_PACK_WORDS(WEIGHTS) * sizeof(uint32_t));
    made->receive = malloc(TR_WIRE_PAYLOAD(FLOATS));
    made->transmit = malloc(TR_WIRE_FRAME(FLOATS));
    must(made->weights && made->workspace && made->x && made->target && made->kept && made->room
         && made->receive && made->transmit, "no memory");
    must(tr_init(&made->model, &network, made->weights, WEIGHTS, made->workspace, 9) == TR_OK,
         "tr_init");
    must(tr_client_init(&made->client, &made->model, &about, &io, made->receive,
                        TR_WIRE_PAYLOAD(FLOATS), made->transmit, TR_WIRE_FRAME(FLOATS), made->x,
                        made->target) == TR_OK, "tr_client_init");
    must(abilities == 0
         || tr_client_packing(&made->client, made->room, abilities > 1 ? made->kept : NULL) == TR_OK,
         "tr_client_packing");
}

static void free_board(board *made)
{
    free(made->weights), free(made->workspace), free(made->x), free(made->target);
    free(made->kept), free(made->room), free(made->receive), free(made->transmit);
}

static void work(tr_client *client, const uint8_t *frame, size_t size)
{
    feed(client, frame, size);
    for (uint32_t left = below(40); left > 0 && tr_client_poll(client); left--) {
    }
    check(client);
    if (client->packed && client->state == TR_TRAINED && below(8) == 0) {
        packed++;
        read_packed(client);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: fuzz_wire FRAMES SEED\n");
        return 2;
    }
    const unsigned long count = strtoul(argv[1], NULL, 10);
    random_state = 0x9e3779b97f4a7c15u ^ strtoul(argv[2], NULL, 10) << 1;
    static board boards[BOARDS];
    unsigned long damaged = 0;
    uint8_t *answer = malloc(TR_WIRE_PAYLOAD(FLOATS));
    must(answer != NULL, "no memory");
    for (int i = 0; i < WEIGHTS; i++) {
        pushed[i] = 0.01f * (float)(i - 9);
        pushed_half[i] = tr_to_half(pushed[i]);
    }
    for (int i = 0; i < BOARDS; i++) {
        make_board(&boards[i], i);
    }
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
        work(&boards[i / 512 % BOARDS].client, frame, size);
    }
    for (int i = 0; i < BOARDS; i++) {
        damaged += boards[i].client.reader.damaged;
        free_board(&boards[i]);
    }
    free(answer);
    printf("{\"frames\": %lu, \"damaged\": %lu, \"states\": [", count, damaged);
    for (int i = 0; i <= TR_FAILED; i++) {
        printf("%s%lu", i ? ", " : "", states[i]);
    }
    printf("], \"answers\": {\"chunk\": %lu, \"welcome\": %lu, \"state\": %lu, \"score\": %lu}, ",
           answered[TR_WIRE_CHUNK], answered[TR_WIRE_WELCOME], answered[TR_WIRE_STATE],
           answered[TR_WIRE_SCORE]);
    printf("\"packed\": %lu, \"damage_read\": %lu, \"damage_refused\": %lu}\n", packed,
           unpacked[1], unpacked[0]);
    return 0;
}
