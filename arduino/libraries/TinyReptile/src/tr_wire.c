/* TinyReptile's wire format and the board's side of it: see tr_wire.h. */
#include "tr_wire.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights travel as they lie in memory: little-endian"
#endif

#define HEADER 2 /* version, kind */
#define CHECK 4  /* CRC-32 */
#define CHUNK_FIELDS 3
#define BLOCK 254 /* longest run without a zero behind one code byte */

/* ---- Frames ---------------------------------------------------------------------------------- */

uint32_t tr_crc32(uint32_t crc, const void *bytes, size_t size)
{
    /* Remainders of the 16 half bytes for the reflected polynomial 0xEDB88320. */
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158,
        0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4,
        0xa00ae278, 0xbdbdf21c};
    const uint8_t *byte = bytes;
    crc = ~crc;
    for (; size > 0; size--, byte++) {
        crc = table[(crc ^ *byte) & 15] ^ (crc >> 4);
        crc = table[(crc ^ (uint32_t)(*byte >> 4)) & 15] ^ (crc >> 4);
    }
    return ~crc;
}

static uint32_t get16(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8;
}

static uint32_t get32(const uint8_t *from)
{
    return get16(from) | get16(from + 2) << 16;
}

static uint8_t *put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    return to + 2;
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    return put16(put16(to, value), value >> 16);
}

static uint8_t *put_float(uint8_t *to, float value)
{
    memcpy(to, &value, 4);
    return to + 4;
}

static void restart(tr_frame_reader *reader)
{
    reader->size = 0;
    reader->run = reader->zero = reader->begun = reader->bad = 0;
}

void tr_frame_reader_init(tr_frame_reader *reader, uint8_t *payload, size_t capacity)
{
    reader->payload = payload;
    reader->capacity = capacity;
    reader->damaged = 0;
    restart(reader);
}

static void keep(tr_frame_reader *reader, uint8_t byte)
{
    if (reader->size == reader->capacity) {
        reader->bad = 1;
    } else {
        reader->payload[reader->size++] = byte;
    }
}

/* Header and fields of the payload that has just ended, or 0 if it is damaged. */
static size_t checked(const tr_frame_reader *reader)
{
    if (reader->bad || reader->run || reader->size < HEADER + CHECK) {
        return 0;
    }
    const size_t size = reader->size - CHECK;
    return get32(reader->payload + size) == tr_crc32(0, reader->payload, size) ? size : 0;
}

size_t tr_frame_byte(tr_frame_reader *reader, uint8_t byte)
{
    if (byte == 0) {
        const size_t size = checked(reader);
        reader->damaged += reader->begun && size == 0;
        restart(reader);
        return size;
    }
    reader->begun = 1;
    if (reader->bad) {
        return 0;
    }
    if (reader->run > 0) {
        keep(reader, byte);
        reader->run--;
        return 0;
    }
    if (reader->zero) {
        keep(reader, 0);
    }
    reader->run = (uint8_t)(byte - 1);
    reader->zero = byte <= BLOCK;
    return 0;
}

size_t tr_frame_gap(size_t size)
{
    return 1 + (size + CHECK) / BLOCK;
}

size_t tr_frame_stuff(uint8_t *frame, size_t size)
{
    uint8_t *payload = frame + tr_frame_gap(size);
    put32(payload + size, tr_crc32(0, payload, size));
    size += CHECK;
    /* Writing never overtakes reading: the gap is as long as all code bytes together. */
    size_t code = 0, to = 1;
    for (size_t from = 0; from < size; from++) {
        if (payload[from] != 0) {
            frame[to++] = payload[from];
        }
        const int full = to - code == BLOCK + 1;
        if (payload[from] == 0 || (full && from + 1 < size)) {
            frame[code] = (uint8_t)(to - code);
            code = to++;
        }
    }
    frame[code] = (uint8_t)(to - code);
    frame[to++] = 0;
    return to;
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* Where the fields of an answer go, behind its header. */
static uint8_t *begin_answer(tr_client *client, uint8_t version, tr_wire_kind kind, size_t fields)
{
    uint8_t *payload = client->transmit + tr_frame_gap(HEADER + fields);
    payload[0] = version;
    payload[1] = (uint8_t)kind;
    return payload + HEADER;
}

static void send_answer(tr_client *client, size_t fields)
{
    const size_t size = tr_frame_stuff(client->transmit, HEADER + fields);
    client->io->send(client->io->context, client->transmit, size);
}

static int has(const tr_client *client, uint32_t index)
{
    return (int)(client->have[index / 32] >> (index % 32) & 1);
}

static uint32_t first_missing(const tr_client *client)
{
    uint32_t index = 0;
    while (index < client->chunks && has(client, index)) {
        index++;
    }
    return index;
}

/* Bit i: chunk first + i is missing. */
static uint32_t missing_mask(const tr_client *client, uint32_t first)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 32 && first + i < client->chunks; i++) {
        mask |= (uint32_t)!has(client, first + i) << i;
    }
    return mask;
}

static void send_state(tr_client *client)
{
    uint32_t count = client->done, detail = client->result_crc;
    if (client->state == TR_RECEIVING) {
        count = first_missing(client);
        detail = missing_mask(client, count);
    }
    const size_t fields = client->version == TR_WIRE_VERSION_2 ? 20 : 16;
    uint8_t *to = begin_answer(client, client->version, TR_WIRE_STATE, fields);
    *to++ = client->state;
    *to++ = client->error;
    to = put32(to, client->nonce);
    to = put16(to, count);
    to = put32(to, detail);
    to = put_float(to, client->loss);
    if (fields > 16) {
        put32(to, client->result_size);
    }
    send_answer(client, fields);
}

static void send_welcome(tr_client *client)
{
    const tr_client_about *about = client->about;
    const size_t fields = client->version == TR_WIRE_VERSION_2 ? 29 : 28;
    uint8_t *to = begin_answer(client, client->version, TR_WIRE_WELCOME, fields);
    to = put32(to, client->session);
    memcpy(to, about->board_id, 8);
    memcpy(to + 8, about->network, 8);
    to = put32(to + 16, client->model->weight_count);
    to = put16(to, client->chunk_floats);
    *to++ = about->window;
    *to++ = about->sources;
    if (fields > 28) {
        *to = client->kept ? TR_WIRE_FEEDBACK : 0;
    }
    send_answer(client, fields);
}

static void send_score(tr_client *client)
{
    uint8_t *to = begin_answer(client, TR_WIRE_VERSION, TR_WIRE_SCORE, 16);
    to = put32(to, client->nonce);
    to = put32(to, client->score_seed);
    to = put16(to, client->score_samples);
    to = put16(to, client->score_correct);
    put_float(to, client->score_loss);
    send_answer(client, 16);
}

/* ---- States ---------------------------------------------------------------------------------- */

static void enter(tr_client *client, tr_client_state state, uint8_t error)
{
    client->state = (uint8_t)state;
    client->error = error;
}

/* Learning and evaluating end at once if the visit does. */
static void forget_work(tr_client *client)
{
    client->samples = client->done = 0;
    client->scored = 0;
    client->pull_mask = 0;
}

static void want_all_chunks(tr_client *client)
{
    memset(client->have, 0, sizeof client->have);
}

static size_t chunk_bytes(const tr_client *client)
{
    return 4 * (size_t)client->chunk_floats;
}

/* Chunks of so many bytes, and bytes in one of them: all are equal but the last. */
static uint32_t chunks_of(const tr_client *client, size_t size)
{
    return (uint32_t)((size + chunk_bytes(client) - 1) / chunk_bytes(client));
}

static size_t bytes_in(const tr_client *client, size_t size, uint32_t index)
{
    const size_t left = size - index * chunk_bytes(client);
    return left < chunk_bytes(client) ? left : chunk_bytes(client);
}

/* A chunk carries whole words; what fills the last one is zero. */
static size_t whole_words(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

static size_t weight_bytes(const tr_client *client)
{
    return 4 * (size_t)client->model->weight_count;
}

/* Bytes of phi on its way to the board, and where they go. */
static size_t phi_bytes(const tr_client *client)
{
    return client->packing.bits ? weight_bytes(client) / 2 : weight_bytes(client);
}

static uint8_t *phi_place(const tr_client *client)
{
    return client->packing.bits
               ? (uint8_t *)tr_pack_phi(client->room, client->model->weight_count)
               : (uint8_t *)client->model->weights;
}

/* What the server can pull: what came, or what was learned of it. */
static uint8_t *result_of(const tr_client *client)
{
    return client->packed ? (uint8_t *)client->room : phi_place(client);
}

static void set_result(tr_client *client, const uint8_t *bytes, size_t size)
{
    client->result_size = (uint32_t)size;
    client->result_crc = tr_crc32(0, bytes, size);
}

static void agree_on_chunks(tr_client *client, uint32_t floats)
{
    client->chunk_floats = (uint16_t)floats;
    client->chunks = (uint16_t)chunks_of(client, phi_bytes(client));
    want_all_chunks(client);
}

/* Largest chunk whose frame is at most that long, or 0. */
static uint32_t floats_in_frame(const tr_client *client, uint32_t frame)
{
    uint32_t floats = client->board_floats;
    while (floats > 0 && TR_WIRE_FRAME(floats) > frame) {
        floats--;
    }
    return floats;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void on_hello(tr_client *client, const uint8_t *fields, uint8_t version)
{
    const uint32_t session = get32(fields);
    const uint32_t floats = floats_in_frame(client, get16(fields + 4));
    if (floats < TR_WIRE_MIN_FLOATS
        || client->model->weight_count > floats * (uint32_t)TR_WIRE_MAX_CHUNKS) {
        return;
    }
    client->fresh |= session != client->session;
    client->session = session;
    client->version = version == TR_WIRE_VERSION_2 && client->room ? TR_WIRE_VERSION_2
                                                                   : TR_WIRE_VERSION;
    if (floats != client->chunk_floats) {
        if (client->state == TR_RECEIVING) {
            client->nonce = 0; /* chunks of another size: the visit cannot go on */
            enter(client, TR_EMPTY, 0);
        }
        client->pull_mask = 0;
        agree_on_chunks(client, floats);
    }
    send_welcome(client);
}

/* Is this visit younger than ours? Requests that were under way for long are not. */
static int is_newer(const tr_client *client, uint32_t round, uint32_t attempt)
{
    return client->nonce == 0 || client->fresh || round > client->round
           || (round == client->round && attempt > client->attempt);
}

/* The changes of the last visit did not reach the server: add them to what was not sent. */
static void take_back(tr_client *client, uint32_t taken)
{
    const tr_packing *packing = &client->packing; /* of that visit */
    if (packing->kept && client->packed != 0 && client->packed != taken) {
        tr_unpack(packing->kept, packing->limit, (const uint8_t *)client->room, client->packed_size);
    }
    client->packed = 0;
}

/* How the visit's changes are to be sent. Returns 0 if that cannot be. */
static int plan_packing(tr_client *client, const uint8_t *fields)
{
    const uint32_t weights = client->model->weight_count;
    const uint8_t flags = fields[1];
    tr_packing *packing = &client->packing;
    if (flags & TR_WIRE_FORGET && client->kept) {
        memset(client->kept, 0, weight_bytes(client));
    }
    if (fields[0] == 32) {
        return 1;
    }
    packing->limit = get32(fields + 2);
    packing->count = get32(fields + 6);
    if ((fields[0] != 8 && fields[0] != 16) || packing->limit > weights || packing->count == 0
        || packing->count > packing->limit || (flags & TR_WIRE_FEEDBACK && !client->kept)) {
        return 0;
    }
    packing->bits = fields[0];
    packing->kept = flags & TR_WIRE_FEEDBACK ? client->kept : NULL;
    return 1;
}

static void on_push(tr_client *client, const uint8_t *fields, uint8_t version)
{
    const uint32_t round = get32(fields), attempt = get16(fields + 4);
    const uint32_t nonce = get32(fields + 6), crc = get32(fields + 10);
    const int same = round == client->round && attempt == client->attempt
                     && nonce == client->nonce && crc == client->crc;
    if (client->session == 0 || nonce == 0 || (!same && !is_newer(client, round, attempt))) {
        return; /* without a hello, the size of a chunk is not agreed on */
    }
    client->fresh = 0;
    if (same) {
        return; /* go on where the visit is */
    }
    client->round = round;
    client->attempt = (uint16_t)attempt;
    client->nonce = nonce;
    client->crc = crc;
    client->loss = 0.0f;
    client->result_crc = client->result_size = 0;
    forget_work(client);
    take_back(client, version == TR_WIRE_VERSION_2 ? get32(fields + 24) : 0);
    memset(&client->packing, 0, sizeof client->packing);
    const int can = version == TR_WIRE_VERSION || plan_packing(client, fields + 14);
    agree_on_chunks(client, client->chunk_floats);
    enter(client, can ? TR_RECEIVING : TR_FAILED, can ? 0 : TR_WIRE_ERR_PACKING);
}

/* All numbers within +-TR_LIMIT; NaN is not. */
static int are_sound(const uint8_t *bytes, size_t size, int halves)
{
    for (size_t i = 0; i < size; i += halves ? 2 : 4) {
        float value;
        memcpy(&value, bytes + (halves ? 0 : i), 4);
        if (halves ? (get16(bytes + i) & 0x7c00u) == 0x7c00u
                   : !(value >= -TR_LIMIT && value <= TR_LIMIT)) {
            return 0;
        }
    }
    return 1;
}

/* All of phi is there: in float16 it becomes the weights only now. */
static void widen_phi(tr_client *client)
{
    const uint16_t *phi = (const uint16_t *)(const void *)phi_place(client);
    for (uint32_t i = 0; i < client->model->weight_count; i++) {
        client->model->weights[i] = tr_from_half(phi[i]);
    }
}

static void on_chunk(tr_client *client, const uint8_t *fields, size_t size)
{
    const uint32_t index = get16(fields + 1);
    if (client->state != TR_RECEIVING || fields[0] != (client->nonce & 255)
        || index >= client->chunks || has(client, index)) {
        return;
    }
    const int halves = client->packing.bits != 0;
    const size_t all = phi_bytes(client), bytes = bytes_in(client, all, index);
    if (size != CHUNK_FIELDS + whole_words(bytes)) {
        return;
    }
    if (!are_sound(fields + CHUNK_FIELDS, bytes, halves)) {
        enter(client, TR_FAILED, TR_ERR_PHI);
        return;
    }
    memcpy(phi_place(client) + index * chunk_bytes(client), fields + CHUNK_FIELDS, bytes);
    client->have[index / 32] |= 1u << (index % 32);
    if (first_missing(client) < client->chunks) {
        return;
    }
    set_result(client, phi_place(client), all);
    if (client->result_crc != client->crc) {
        /* A chunk of another visit with the same tag came between: start over. */
        want_all_chunks(client);
        client->error = TR_WIRE_ERR_CRC;
        return;
    }
    if (halves) {
        widen_phi(client);
    }
    enter(client, TR_READY, 0);
}

/* Prepare the work that TRAIN and EVALUATE have in common; 0 if it cannot be done. */
static int begin_work(tr_client *client, uint32_t samples, uint8_t source, uint32_t seed)
{
    client->error = 0;
    if (samples == 0) {
        client->error = TR_WIRE_ERR_SAMPLES;
    } else if (source > 7 || !(client->about->sources >> source & 1)
               || !client->io->begin(client->io->context, source, seed, (uint16_t)samples)) {
        client->error = TR_WIRE_ERR_SOURCE;
    }
    client->samples = (uint16_t)samples;
    client->done = client->correct = 0;
    client->loss_sum = 0.0f;
    return client->error == 0;
}

/* Whether there is a body for the samples behind those of the head. */
static int has_parts(tr_client *client)
{
    return client->head_samples == 0 || tr_learn_part(client->model, TR_BODY) == TR_OK;
}

/* The head alone, the body alone or all layers, as the sample that comes next wants it. */
static tr_status choose_part(tr_client *client)
{
    const uint16_t head = client->head_samples;
    return tr_learn_part(client->model, head == 0 ? TR_ALL : client->done < head ? TR_HEAD : TR_BODY);
}

static void on_train(tr_client *client, const uint8_t *fields, uint8_t version)
{
    const int parts = version == TR_WIRE_VERSION_2;
    float rate, head_rate;
    memcpy(&rate, fields + 4, 4);
    memcpy(&head_rate, fields + (parts ? 17 : 4), 4);
    if (get32(fields) != client->nonce || client->state != TR_READY) {
        send_state(client);
        return;
    }
    client->head_samples = (uint16_t)(parts ? get16(fields + 15) : 0);
    client->done = 0;
    if (!(rate >= 0.0f && rate <= TR_MAX_RATE && head_rate >= 0.0f && head_rate <= TR_MAX_RATE)) {
        enter(client, TR_FAILED, TR_ERR_RATE);
    } else if (!has_parts(client) || choose_part(client) != TR_OK) {
        enter(client, TR_FAILED, TR_ERR_NETWORK);
    } else if (!begin_work(client, get16(fields + 8), fields[14], get32(fields + 10))) {
        enter(client, TR_FAILED, client->error);
    } else {
        client->rate = rate;
        client->head_rate = head_rate;
        client->packing.seed = get32(fields + 10);
        client->scored = 0; /* what was scored are no longer the weights */
        client->state = TR_TRAINING;
        return; /* answered when it is done */
    }
    send_state(client);
}

static void on_evaluate(tr_client *client, const uint8_t *fields)
{
    const uint32_t seed = get32(fields + 4), samples = get16(fields + 8);
    const uint8_t source = fields[10];
    const int can = client->state == TR_READY || client->state == TR_TRAINED;
    if (get32(fields) != client->nonce || !can) {
        send_state(client);
        return;
    }
    if (client->scored && seed == client->score_seed && samples == client->score_samples
        && source == client->score_source) {
        send_score(client);
        return;
    }
    client->scored = 0;
    client->score_seed = seed;
    client->score_samples = (uint16_t)samples;
    client->score_source = source;
    client->resume = client->state;
    if (begin_work(client, samples, source, seed)) {
        client->state = TR_EVALUATING;
    } else {
        send_state(client);
    }
}

static void on_pull(tr_client *client, const uint8_t *fields)
{
    const int can = client->state == TR_READY || client->state == TR_TRAINED;
    if (get32(fields) != client->nonce || !can) {
        send_state(client);
        return;
    }
    client->pull_first = (uint16_t)get16(fields + 4);
    client->pull_mask = get32(fields + 6);
}

static void on_abort(tr_client *client, const uint8_t *fields)
{
    const int done = client->packed && client->packing.kept;
    if (get32(fields) == client->nonce && done) {
        /* What it learned is counted in what was not sent, so the same visit must not be made
         * twice: it goes on where it is, and any other one is newer. */
        client->fresh = 1;
        client->pull_mask = 0;
        enter(client, TR_TRAINED, 0);
    } else if (get32(fields) == client->nonce) {
        client->nonce = client->packed = 0; /* so that the same visit may begin again */
        forget_work(client);
        enter(client, TR_EMPTY, 0);
    }
    send_state(client);
}

/* Fields of each kind that a board accepts; a chunk has at least one word more. */
static size_t fields_of(uint8_t kind, uint8_t version)
{
    const int second = version == TR_WIRE_VERSION_2;
    if (second && kind != TR_WIRE_HELLO && kind != TR_WIRE_PUSH && kind != TR_WIRE_TRAIN) {
        return SIZE_MAX;
    }
    switch (kind) {
    case TR_WIRE_HELLO: return 6;
    case TR_WIRE_PUSH: return second ? 28 : 14;
    case TR_WIRE_CHUNK: return CHUNK_FIELDS;
    case TR_WIRE_TRAIN: return second ? 21 : 15;
    case TR_WIRE_PULL: return 10;
    case TR_WIRE_EVALUATE: return 11;
    case TR_WIRE_STATUS: return 0;
    case TR_WIRE_ABORT: return 4;
    default: return SIZE_MAX;
    }
}

static void on_frame(tr_client *client, const uint8_t *payload, size_t size)
{
    const uint8_t version = payload[0], kind = payload[1];
    const uint8_t *fields = payload + HEADER;
    size -= HEADER;
    if (version != TR_WIRE_VERSION && (version != TR_WIRE_VERSION_2 || !client->room)) {
        if (kind == TR_WIRE_HELLO) {
            send_welcome(client); /* its header says which version the board speaks */
        }
        return;
    }
    if (kind == TR_WIRE_CHUNK && version == TR_WIRE_VERSION ? size < CHUNK_FIELDS
                                                            : size != fields_of(kind, version)) {
        return;
    }
    switch (kind) {
    case TR_WIRE_HELLO: on_hello(client, fields, version); break;
    case TR_WIRE_PUSH: on_push(client, fields, version); break;
    case TR_WIRE_CHUNK: on_chunk(client, fields, size); break;
    case TR_WIRE_TRAIN: on_train(client, fields, version); break;
    case TR_WIRE_PULL: on_pull(client, fields); break;
    case TR_WIRE_EVALUATE: on_evaluate(client, fields); break;
    case TR_WIRE_STATUS: send_state(client); break;
    case TR_WIRE_ABORT: on_abort(client, fields); break;
    default: break;
    }
}

void tr_client_byte(tr_client *client, uint8_t byte)
{
    const size_t size = tr_frame_byte(&client->reader, byte);
    if (size > 0) {
        on_frame(client, client->reader.payload, size);
    }
}

/* ---- Work ------------------------------------------------------------------------------------ */

static void send_next_chunk(tr_client *client)
{
    while (client->pull_mask != 0 && !(client->pull_mask & 1)) {
        client->pull_mask >>= 1;
        client->pull_first++;
    }
    const uint32_t index = client->pull_first++;
    client->pull_mask >>= 1;
    if (index >= chunks_of(client, client->result_size)) {
        client->pull_mask = 0;
        return;
    }
    const size_t bytes = bytes_in(client, client->result_size, index);
    const size_t size = CHUNK_FIELDS + whole_words(bytes);
    uint8_t *to = begin_answer(client, TR_WIRE_VERSION, TR_WIRE_CHUNK, size);
    *to++ = (uint8_t)client->nonce;
    to = put16(to, index);
    memset(to, 0, whole_words(bytes));
    memcpy(to, result_of(client) + index * chunk_bytes(client), bytes);
    send_answer(client, size);
}

static void finish_training(tr_client *client)
{
    size_t size = weight_bytes(client);
    client->loss = client->loss_sum / (float)client->samples;
    tr_learn_part(client->model, TR_ALL);
    if (client->packing.bits) {
        size = tr_pack(client->room, client->model->weights, client->model->weight_count,
                       &client->packing);
        client->packed = client->nonce;
        client->packed_size = (uint32_t)size;
    }
    enter(client, TR_TRAINED, 0);
    set_result(client, result_of(client), size);
    send_state(client);
}

static void finish_evaluation(tr_client *client)
{
    client->score_loss = client->loss_sum / (float)client->samples;
    client->score_correct = client->correct;
    client->scored = 1;
    client->state = client->resume;
    send_score(client);
}

/* A training that fails ends the visit; an evaluation leaves the weights as they are. */
static void fail_work(tr_client *client, uint8_t error)
{
    enter(client, client->state == TR_TRAINING ? TR_FAILED : (tr_client_state)client->resume,
          error);
    send_state(client);
}

static tr_status use_sample(tr_client *client, int32_t label)
{
    tr_model *model = client->model;
    const int labels = model->network->loss == TR_CROSS_ENTROPY;
    const float rate = client->done < client->head_samples ? client->head_rate : client->rate;
    float loss = 0.0f;
    size_t correct = 0;
    tr_status status;
    if (client->state == TR_EVALUATING) {
        const tr_samples one = {client->x, labels ? NULL : client->target, labels ? &label : NULL,
                                1};
        status = tr_evaluate(model, &loss, &correct, &one);
    } else if (labels) {
        status = tr_learn_label(model, &loss, client->x, label, rate);
    } else {
        status = tr_learn_value(model, &loss, client->x, client->target, rate);
    }
    client->loss_sum += loss;
    client->correct = (uint16_t)(client->correct + correct);
    return status;
}

static void work_on_sample(tr_client *client)
{
    int32_t label = 0;
    const int got = client->io->sample(client->io->context, client->x, client->target, &label);
    if (got == 0) {
        return;
    }
    const tr_status status = got > 0 ? use_sample(client, label) : TR_OK;
    if (got < 0 || status != TR_OK) {
        fail_work(client, (uint8_t)(got < 0 ? TR_WIRE_ERR_SENSOR - 1 - got : (int)status));
        return;
    }
    client->done++;
    if (client->state == TR_TRAINING && client->done == client->head_samples) {
        choose_part(client);
    }
    if (client->done < client->samples) {
        return;
    }
    if (client->state == TR_TRAINING) {
        finish_training(client);
    } else {
        finish_evaluation(client);
    }
}

int tr_client_poll(tr_client *client)
{
    if (client->pull_mask != 0) {
        send_next_chunk(client);
    } else if (client->state == TR_TRAINING || client->state == TR_EVALUATING) {
        work_on_sample(client);
    }
    return client->pull_mask != 0 || client->state == TR_TRAINING
           || client->state == TR_EVALUATING;
}

tr_status tr_client_init(tr_client *client, tr_model *model, const tr_client_about *about,
                         const tr_client_io *io, uint8_t *receive, size_t receive_size,
                         uint8_t *transmit, size_t transmit_size, float *x, float *target)
{
    if (!client || !model || !model->weights || !about || !io || !io->send || !io->begin
        || !io->sample || !receive || !transmit || !x || !target) {
        return TR_ERR_NULL;
    }
    uint32_t floats = UINT16_MAX / 4;
    while (floats >= TR_WIRE_MIN_FLOATS
           && (TR_WIRE_PAYLOAD(floats) > receive_size || TR_WIRE_FRAME(floats) > transmit_size)) {
        floats--;
    }
    if (floats < TR_WIRE_MIN_FLOATS) {
        return TR_ERR_WORKSPACE;
    }
    if (model->weight_count > floats * (uint32_t)TR_WIRE_MAX_CHUNKS) {
        return TR_ERR_WEIGHTS;
    }
    memset(client, 0, sizeof *client);
    client->model = model;
    client->about = about;
    client->io = io;
    client->transmit = transmit;
    client->x = x;
    client->target = target;
    client->board_floats = (uint16_t)floats;
    client->version = TR_WIRE_VERSION;
    tr_frame_reader_init(&client->reader, receive, receive_size);
    agree_on_chunks(client, floats);
    return TR_OK;
}

tr_status tr_client_packing(tr_client *client, uint32_t *room, float *kept)
{
    if (!client || !client->model || !room) {
        return TR_ERR_NULL;
    }
    if (client->model->weight_count > TR_PACK_MAX_WEIGHTS) {
        return TR_ERR_WEIGHTS;
    }
    client->room = room;
    client->kept = kept;
    if (kept) {
        memset(kept, 0, weight_bytes(client));
    }
    return TR_OK;
}
