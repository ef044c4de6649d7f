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
static uint8_t *begin_answer(tr_client *client, tr_wire_kind kind, size_t fields)
{
    uint8_t *payload = client->transmit + tr_frame_gap(HEADER + fields);
    payload[0] = TR_WIRE_VERSION;
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
    uint8_t *to = begin_answer(client, TR_WIRE_STATE, 16);
    *to++ = client->state;
    *to++ = client->error;
    to = put32(to, client->nonce);
    to = put16(to, count);
    to = put32(to, detail);
    put_float(to, client->loss);
    send_answer(client, 16);
}

static void send_welcome(tr_client *client)
{
    const tr_client_about *about = client->about;
    uint8_t *to = begin_answer(client, TR_WIRE_WELCOME, 28);
    to = put32(to, client->session);
    memcpy(to, about->board_id, 8);
    memcpy(to + 8, about->network, 8);
    to = put32(to + 16, client->model->weight_count);
    to = put16(to, client->chunk_floats);
    *to++ = about->window;
    *to = about->sources;
    send_answer(client, 28);
}

static void send_score(tr_client *client)
{
    uint8_t *to = begin_answer(client, TR_WIRE_SCORE, 16);
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

/* Floats in one chunk: all are equal but the last. */
static uint32_t floats_in(const tr_client *client, uint32_t index)
{
    const uint32_t left = client->model->weight_count - index * client->chunk_floats;
    return left < client->chunk_floats ? left : client->chunk_floats;
}

static uint32_t weights_crc(const tr_client *client)
{
    return tr_crc32(0, client->model->weights, 4 * (size_t)client->model->weight_count);
}

static void agree_on_chunks(tr_client *client, uint32_t floats)
{
    const uint32_t weights = client->model->weight_count;
    client->chunk_floats = (uint16_t)floats;
    client->chunks = (uint16_t)((weights + floats - 1) / floats);
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

static void on_hello(tr_client *client, const uint8_t *fields)
{
    const uint32_t session = get32(fields);
    const uint32_t floats = floats_in_frame(client, get16(fields + 4));
    if (floats < TR_WIRE_MIN_FLOATS
        || client->model->weight_count > floats * (uint32_t)TR_WIRE_MAX_CHUNKS) {
        return;
    }
    client->fresh |= session != client->session;
    client->session = session;
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

static void on_push(tr_client *client, const uint8_t *fields)
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
    client->result_crc = 0;
    forget_work(client);
    want_all_chunks(client);
    enter(client, TR_RECEIVING, 0);
}

/* All floats within +-TR_LIMIT; NaN is not. */
static int are_sound(const uint8_t *bytes, uint32_t floats)
{
    for (uint32_t i = 0; i < floats; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, 4);
        if (!(value >= -TR_LIMIT && value <= TR_LIMIT)) {
            return 0;
        }
    }
    return 1;
}

static void on_chunk(tr_client *client, const uint8_t *fields, size_t size)
{
    const uint32_t index = get16(fields + 1);
    if (client->state != TR_RECEIVING || fields[0] != (client->nonce & 255)
        || index >= client->chunks || has(client, index)) {
        return;
    }
    const uint32_t floats = floats_in(client, index);
    if (size != CHUNK_FIELDS + 4 * (size_t)floats) {
        return;
    }
    if (!are_sound(fields + CHUNK_FIELDS, floats)) {
        enter(client, TR_FAILED, TR_ERR_PHI);
        return;
    }
    memcpy(client->model->weights + index * client->chunk_floats, fields + CHUNK_FIELDS,
           4 * (size_t)floats);
    client->have[index / 32] |= 1u << (index % 32);
    if (first_missing(client) < client->chunks) {
        return;
    }
    client->result_crc = weights_crc(client);
    if (client->result_crc == client->crc) {
        enter(client, TR_READY, 0);
    } else { /* a chunk of another visit with the same tag came between: start over */
        want_all_chunks(client);
        client->error = TR_WIRE_ERR_CRC;
    }
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

static void on_train(tr_client *client, const uint8_t *fields)
{
    float rate;
    memcpy(&rate, fields + 4, 4);
    if (get32(fields) != client->nonce || client->state != TR_READY) {
        send_state(client);
        return;
    }
    if (!(rate >= 0.0f && rate <= TR_MAX_RATE)) {
        enter(client, TR_FAILED, TR_ERR_RATE);
    } else if (!begin_work(client, get16(fields + 8), fields[14], get32(fields + 10))) {
        enter(client, TR_FAILED, client->error);
    } else {
        client->rate = rate;
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
    if (get32(fields) == client->nonce) {
        client->nonce = 0; /* so that the same visit may begin again */
        forget_work(client);
        enter(client, TR_EMPTY, 0);
    }
    send_state(client);
}

/* Fields of each kind that a board accepts; a chunk has at least one float more. */
static size_t fields_of(uint8_t kind)
{
    switch (kind) {
    case TR_WIRE_HELLO: return 6;
    case TR_WIRE_PUSH: return 14;
    case TR_WIRE_CHUNK: return CHUNK_FIELDS;
    case TR_WIRE_TRAIN: return 15;
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
    if (version != TR_WIRE_VERSION) {
        if (kind == TR_WIRE_HELLO) {
            send_welcome(client); /* its header says which version the board speaks */
        }
        return;
    }
    if (kind == TR_WIRE_CHUNK ? size < CHUNK_FIELDS : size != fields_of(kind)) {
        return;
    }
    switch (kind) {
    case TR_WIRE_HELLO: on_hello(client, fields); break;
    case TR_WIRE_PUSH: on_push(client, fields); break;
    case TR_WIRE_CHUNK: on_chunk(client, fields, size); break;
    case TR_WIRE_TRAIN: on_train(client, fields); break;
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
    if (index >= client->chunks) {
        client->pull_mask = 0;
        return;
    }
    const uint32_t floats = floats_in(client, index);
    const size_t size = CHUNK_FIELDS + 4 * (size_t)floats;
    uint8_t *to = begin_answer(client, TR_WIRE_CHUNK, size);
    *to++ = (uint8_t)client->nonce;
    to = put16(to, index);
    memcpy(to, client->model->weights + index * client->chunk_floats, 4 * (size_t)floats);
    send_answer(client, size);
}

static void finish_training(tr_client *client)
{
    client->loss = client->loss_sum / (float)client->samples;
    client->result_crc = weights_crc(client);
    enter(client, TR_TRAINED, 0);
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
    float loss = 0.0f;
    size_t correct = 0;
    tr_status status;
    if (client->state == TR_EVALUATING) {
        const tr_samples one = {client->x, labels ? NULL : client->target, labels ? &label : NULL,
                                1};
        status = tr_evaluate(model, &loss, &correct, &one);
    } else if (labels) {
        status = tr_learn_label(model, &loss, client->x, label, client->rate);
    } else {
        status = tr_learn_value(model, &loss, client->x, client->target, client->rate);
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
    tr_frame_reader_init(&client->reader, receive, receive_size);
    agree_on_chunks(client, floats);
    return TR_OK;
}
