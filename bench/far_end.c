/* far_end: the other side of every measurement.
 *
 * One process, one thread, poll(2); WebSocket (RFC 6455) on 127.0.0.1, plain and, where OpenSSL is compiled in
 * (-DFAR_END_TLS), TLS. It is written to cost little and to cost every client the same. The request path chooses what a
 * connection does:
 *
 *   /echo     sends every text and binary frame back
 *   /flood    sends text messages as fast as the socket takes them, then a text message "end"; in the query:
 *             count=N messages, size=BYTES of payload, batch=K distinct messages handed to the kernel in one write;
 *             wait=1 starts no flood by itself: every text message from the client does, and says the count in decimal;
 *             books=N changes of N books in turn, each full of levels, instead of one book and one long amount;
 *             recording=1 sends the recording's lines, one a message, instead of all that
 *   /rpc      answers every text message that holds "id":NUMBER with a JSON-RPC result of that id
 *   /cut      as /echo, and closes the socket without a word at a message "cut"
 *   /silent   sends nothing of its own
 *
 * All of them answer PING and CLOSE. Usage: far_end [CERTIFICATE_CHAIN.pem PRIVATE_KEY.pem [RECORDING]]. Prints one line,
 * "plain PORT" or "plain PORT tls PORT", and lives until its stdin is closed, ten minutes at most.
 *
 * Not here: limits against hostile clients, UTF-8 checks, extensions. This is a load generator, not a server.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef FAR_END_TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

enum {
    LIFE_SECONDS = 600,
    READ_BYTES = 64 * 1024,
    REQUEST_LIMIT = 16 * 1024,
    FRAME_LIMIT = 32 * 1024 * 1024,
    WAITING_LIMIT = 1024 * 1024, /* echoes waiting to go out; above this a connection is not read */
    MAX_BATCH = 1024,
    MAX_CONNECTIONS = 8192,
    TEXT = 1,
    BINARY = 2,
    CONTINUATION = 0,
    CLOSE = 8,
    PING = 9,
    PONG = 10
};

/* Results of the functions that touch the network, below zero so that byte counts can share the type. */
enum { BLOCKED = -1, GONE = -2 };

enum mode { HANDSHAKE, ECHO, CUT, FLOOD, RPC, SILENT };
enum source { NOTHING, FROM_WAITING, FROM_FLOOD };

struct buffer {
    uint8_t *data;
    size_t start, end, size; /* bytes start..end are valid */
};

/* Prebuilt frames, sent round and round. ends: where each is over. left_bytes always ends on a frame. */
struct flood {
    uint8_t *block;
    size_t block_bytes, frames, at, *ends;
    uint64_t left_bytes;
    bool end_due;
};

struct connection {
    int fd;
    SSL *ssl;
    enum mode mode;
    struct buffer received, waiting, sealed; /* sealed: TLS records on their way to the socket */
    struct flood flood;
    bool close_when_flushed, dead;
};

static struct connection *connections[MAX_CONNECTIONS];
static const char *recording; /* a file, or NULL */
static size_t connection_count;

/* ---- memory ---- */

static void *grown(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);
    if (memory == NULL) {
        fputs("far_end: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static size_t held(const struct buffer *b) { return b->end - b->start; }

/* Room for `bytes` more at the end; what was consumed is given back first. */
static uint8_t *room(struct buffer *b, size_t bytes) {
    if (b->start > 0 && b->size - b->end < bytes) {
        memmove(b->data, b->data + b->start, held(b));
        b->end -= b->start;
        b->start = 0;
    }
    if (b->size - b->end < bytes) {
        b->size = (b->end + bytes) * 2;
        b->data = grown(b->data, b->size);
    }
    return b->data + b->end;
}

static void consume(struct buffer *b, size_t bytes) {
    b->start += bytes;
    if (b->start == b->end) b->start = b->end = 0;
}

/* ---- SHA-1 (RFC 3174) and base64, for Sec-WebSocket-Accept alone ---- */

static uint32_t rotated(uint32_t x, int bits) { return (x << bits) | (x >> (32 - bits)); }

static uint32_t sha1_mix(int t, uint32_t b, uint32_t c, uint32_t d) {
    if (t < 20) return ((b & c) | (~b & d)) + 0x5A827999u;
    if (t < 40) return (b ^ c ^ d) + 0x6ED9EBA1u;
    if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu;
    return (b ^ c ^ d) + 0xCA62C1D6u;
}

static void sha1_block(uint32_t h[5], const uint8_t *block) {
    uint32_t w[80], v[5];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 80; t++) w[t] = rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    memcpy(v, h, sizeof v);
    for (int t = 0; t < 80; t++) {
        uint32_t next = rotated(v[0], 5) + sha1_mix(t, v[1], v[2], v[3]) + v[4] + w[t];
        v[4] = v[3], v[3] = v[2], v[2] = rotated(v[1], 30), v[1] = v[0], v[0] = next;
    }
    for (int i = 0; i < 5; i++) h[i] += v[i];
}

/* `size` is at most 119 bytes: two blocks with the padding. */
static void sha1_short(const char *text, size_t size, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u};
    uint8_t blocks[128] = {0};
    size_t total = size + 9 <= 64 ? 64 : 128;
    memcpy(blocks, text, size);
    blocks[size] = 0x80;
    blocks[total - 2] = (uint8_t)(size * 8 >> 8);
    blocks[total - 1] = (uint8_t)(size * 8);
    for (size_t at = 0; at < total; at += 64) sha1_block(h, blocks + at);
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* 20 bytes are 28 characters, the last one padding. */
static void base64_digest(const uint8_t digest[20], char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t padded[21] = {0};
    memcpy(padded, digest, 20);
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)padded[3 * i] << 16 | padded[3 * i + 1] << 8 | padded[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
    }
    strcpy(out + 27, "=");
}

/* ---- frames ---- */

/* Writes an unmasked header, returns its size (RFC 6455 5.2). */
static size_t put_header(uint8_t *out, uint8_t first, uint64_t size) {
    out[0] = first;
    if (size < 126) {
        out[1] = (uint8_t)size;
        return 2;
    }
    size_t width = size < 65536 ? 2 : 8;
    out[1] = width == 2 ? 126 : 127;
    for (size_t i = 0; i < width; i++) out[2 + i] = (uint8_t)(size >> 8 * (width - 1 - i));
    return 2 + width;
}

static void queue_frame(struct connection *c, uint8_t first, const uint8_t *payload, size_t size) {
    uint8_t *out = room(&c->waiting, size + 10);
    size_t header = put_header(out, first, size);
    if (size > 0) memcpy(out + header, payload, size);
    c->waiting.end += header + size;
}

static void unmask(uint8_t *data, size_t size, const uint8_t key[4]) {
    uint64_t wide, word;
    size_t i = 0;
    memcpy(&wide, key, 4);
    memcpy((uint8_t *)&wide + 4, key, 4);
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; i++) data[i] ^= key[i & 3];
}

/* Bytes until the end of the frame that is under way; 0 between two frames. */
static size_t rest_of_frame(const struct flood *f) {
    size_t low = 0, high = f->frames; /* the first frame that ends at or behind `at` */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->ends[middle] < f->at) low = middle + 1;
        else high = middle;
    }
    return f->at > 0 ? f->ends[low] - f->at : 0;
}

/* A CLOSE with `code`, or without one where code is 0; after it is out, the connection goes. */
static void queue_close(struct connection *c, unsigned code) {
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    queue_frame(c, 0x80 | CLOSE, payload, code ? 2 : 0);
    c->close_when_flushed = true;
    c->flood.end_due = false;
    if (c->flood.left_bytes > 0) c->flood.left_bytes = rest_of_frame(&c->flood); /* only the frame under way */
}

/* ---- floods ---- */

static uint64_t query_number(const char *path, const char *name, uint64_t missing) {
    size_t size = strlen(name);
    for (const char *at = strpbrk(path, "?&"); at != NULL; at = strpbrk(at + 1, "?&"))
        if (strncmp(at + 1, name, size) == 0 && at[1 + size] == '=') return strtoull(at + 2 + size, NULL, 10);
    return missing;
}

/* Exactly `size` bytes of JSON that look like a book notification; below its least size, a plain JSON string. */
static void fill_payload(char *out, size_t size, unsigned number) {
    static const char tail[] = "]],\"asks\":[]}}}";
    char head[512];
    int used = snprintf(head, sizeof head,
                        "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"book.BTC-PERPETUAL.100ms\","
                        "\"data\":{\"type\":\"change\",\"timestamp\":%llu,\"prev_change_id\":%llu,\"instrument_name\":"
                        "\"BTC-PERPETUAL\",\"change_id\":%llu,\"bids\":[[\"change\",36809.5,25487.0",
                        1622627435737ull + number, 31479598064ull + number, 31479598065ull + number);
    size_t least = (size_t)used + sizeof tail - 1;
    memset(out, size < least ? 'x' : '0', size); /* longer payloads: zeroes after the amount's decimal point */
    if (size >= least) {
        memcpy(out, head, (size_t)used);
        memcpy(out + size - sizeof tail + 1, tail, sizeof tail - 1);
    } else if (size >= 2) {
        out[0] = out[size - 1] = '"';
    }
}

/* As many levels as fit, then white space. `size` is at least 300. */
static void fill_book(char *out, size_t size, unsigned number, unsigned books) {
    static const char level[] = ",[\"change\",36809.5,25487.0]", tail[] = "],\"asks\":[]}}}";
    int used = snprintf(out, size,
                        "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"book.I%03u-PERPETUAL.100ms\","
                        "\"data\":{\"type\":\"change\",\"timestamp\":%llu,\"prev_change_id\":%llu,\"instrument_name\":"
                        "\"I%03u-PERPETUAL\",\"change_id\":%llu,\"bids\":[[\"change\",36809.5,25487.0]",
                        number % books, 1622627435737ull + number, 31479598064ull + number, number % books,
                        31479598065ull + number);
    char *at = out + used;
    for (; at + sizeof level + sizeof tail < out + size; at += sizeof level - 1) memcpy(at, level, sizeof level - 1);
    memset(at, ' ', (size_t)(out + size - at));
    memcpy(out + size - sizeof tail + 1, tail, sizeof tail - 1);
}

/* Puts one more frame at the end of the block; its payload is to be written to what is returned. */
static char *add_frame(struct flood *f, size_t size) {
    uint8_t header[10];
    size_t header_bytes = put_header(header, 0x80 | TEXT, size);
    f->block = grown(f->block, f->block_bytes + header_bytes + size);
    memcpy(f->block + f->block_bytes, header, header_bytes);
    char *payload = (char *)f->block + f->block_bytes + header_bytes;
    f->block_bytes += header_bytes + size;
    f->ends = grown(f->ends, (f->frames + 1) * sizeof *f->ends);
    f->ends[f->frames++] = f->block_bytes;
    return payload;
}

static void read_recording(struct flood *f) {
    FILE *file = recording ? fopen(recording, "r") : NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    if (file == NULL) {
        fputs("far_end: no recording\n", stderr);
        exit(1);
    }
    while ((size = getline(&line, &room, file)) > 1) memcpy(add_frame(f, (size_t)size - 1), line, (size_t)size - 1);
    free(line);
    fclose(file);
}

static void prepare_flood(struct flood *f, const char *path) {
    if (query_number(path, "recording", 0)) {
        read_recording(f);
        return;
    }
    size_t size = (size_t)query_number(path, "size", 320), batch = (size_t)query_number(path, "batch", 512);
    if (size > READ_BYTES * 16) size = READ_BYTES * 16;
    unsigned books = (unsigned)query_number(path, "books", 0);
    if (books > 0 && size < 300) size = 300;
    if (batch < 1 || batch > MAX_BATCH) batch = 512;
    for (size_t i = 0; i < batch; i++) {
        char *payload = add_frame(f, size);
        if (books > 0) fill_book(payload, size, (unsigned)i, books);
        else fill_payload(payload, size, (unsigned)i);
    }
}

static void start_flood(struct connection *c, uint64_t count) {
    struct flood *f = &c->flood;
    size_t rest = count % f->frames;
    f->left_bytes = count / f->frames * f->block_bytes + (rest > 0 ? f->ends[rest - 1] : 0);
    c->flood.at = 0;
    c->flood.end_due = true;
}

static void end_flood_if_due(struct connection *c) {
    if (c->mode != FLOOD || !c->flood.end_due || c->flood.left_bytes > 0) return;
    c->flood.end_due = false;
    queue_frame(c, 0x80 | TEXT, (const uint8_t *)"end", 3);
}

/* ---- bytes to and from the socket ---- */

static ssize_t plain_result(ssize_t result) {
    if (result > 0) return result;
    return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? BLOCKED : GONE;
}

/* TLS records go through memory into `sealed`, so that many of them leave in one write. */
#ifdef FAR_END_TLS
static SSL_CTX *tls_context;

static void collect_sealed(struct connection *c) {
    BIO *records = SSL_get_wbio(c->ssl);
    size_t bytes = BIO_ctrl_pending(records);
    if (bytes > 0) c->sealed.end += (size_t)BIO_read(records, room(&c->sealed, bytes), (int)bytes);
}

static ssize_t tls_read(struct connection *c, uint8_t *data, size_t size) {
    int got = SSL_read(c->ssl, data, (int)size);
    collect_sealed(c); /* the handshake's answers */
    if (got > 0) return got;
    return SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ ? BLOCKED : GONE;
}

static void seal(struct connection *c, const uint8_t *data, size_t size) {
    if (SSL_write(c->ssl, data, (int)size) <= 0) c->dead = true;
    collect_sealed(c);
}

static void tls_close(struct connection *c) {
    if (SSL_is_init_finished(c->ssl)) SSL_shutdown(c->ssl);
    collect_sealed(c);
    if (held(&c->sealed) > 0) plain_result(write(c->fd, c->sealed.data + c->sealed.start, held(&c->sealed)));
    SSL_free(c->ssl);
}

static bool tls_more(SSL *ssl) { return SSL_pending(ssl) > 0; }

static bool tls_prepare(const char *chain, const char *key) {
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(tls_context, TLS1_2_VERSION);
    return SSL_CTX_use_certificate_chain_file(tls_context, chain) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) == 1;
}

static SSL *tls_accepting(int fd) {
    SSL *ssl = SSL_new(tls_context);
    SSL_set_bio(ssl, BIO_new_socket(fd, BIO_NOCLOSE), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl);
    return ssl;
}
#else
static ssize_t tls_read(struct connection *c, uint8_t *d, size_t n) { return (void)c, (void)d, (void)n, GONE; }
static void seal(struct connection *c, const uint8_t *d, size_t n) { (void)c, (void)d, (void)n; }
static void tls_close(struct connection *c) { (void)c; }
static bool tls_more(SSL *ssl) { return (void)ssl, false; }
static bool tls_prepare(const char *chain, const char *key) { return (void)chain, (void)key, false; }
static SSL *tls_accepting(int fd) { return (void)fd, NULL; }
#endif

static ssize_t read_some(struct connection *c, uint8_t *data, size_t size) {
    return c->ssl ? tls_read(c, data, size) : plain_result(read(c->fd, data, size));
}

/* Bytes written, 0 when the socket takes no more. */
static size_t write_some(struct connection *c, const uint8_t *data, size_t size) {
    ssize_t put = plain_result(write(c->fd, data, size));
    if (put == GONE) c->dead = true;
    return put > 0 ? (size_t)put : 0;
}

/* ---- what is sent next ---- */

/* Bytes that wait go first, but only between two frames of a flood. */
static enum source next_source(const struct connection *c, size_t *bytes) {
    const struct flood *f = &c->flood;
    size_t rest = held(&c->waiting) > 0 && f->left_bytes > 0 ? rest_of_frame(f) : 0;
    if (held(&c->waiting) > 0 && rest == 0) {
        *bytes = held(&c->waiting);
        return FROM_WAITING;
    }
    size_t most = rest > 0 ? rest : f->block_bytes - f->at;
    *bytes = f->left_bytes < most ? (size_t)f->left_bytes : most;
    return *bytes > 0 ? FROM_FLOOD : NOTHING;
}

static void sent(struct connection *c, enum source source, size_t bytes) {
    if (source == FROM_WAITING) {
        consume(&c->waiting, bytes);
        return;
    }
    c->flood.left_bytes -= bytes;
    c->flood.at = (c->flood.at + bytes) % c->flood.block_bytes;
    end_flood_if_due(c);
}

static const uint8_t *source_data(const struct connection *c, enum source source) {
    return source == FROM_FLOOD ? c->flood.block + c->flood.at : c->waiting.data + c->waiting.start;
}

/* One plain write. False when the socket takes no more, or nothing is left. */
static bool write_plain(struct connection *c) {
    size_t bytes;
    enum source source = next_source(c, &bytes);
    size_t put = source == NOTHING ? 0 : write_some(c, source_data(c, source), bytes);
    if (put > 0) sent(c, source, put);
    return put > 0;
}

/* The same through TLS: what is sealed goes out before more is sealed. */
static bool write_sealed(struct connection *c) {
    size_t bytes;
    enum source source = held(&c->sealed) > 0 ? NOTHING : next_source(c, &bytes);
    if (source != NOTHING) {
        seal(c, source_data(c, source), bytes);
        sent(c, source, bytes);
    }
    size_t put = held(&c->sealed) > 0 ? write_some(c, c->sealed.data + c->sealed.start, held(&c->sealed)) : 0;
    consume(&c->sealed, put);
    return put > 0;
}

static bool wants_to_write(const struct connection *c) {
    return held(&c->waiting) > 0 || held(&c->sealed) > 0 || c->flood.left_bytes > 0;
}

/* At most 64 writes, so that the other connections and stdin have their turn. */
static void write_out(struct connection *c) {
    for (int i = 0; i < 64 && !c->dead && (c->ssl ? write_sealed(c) : write_plain(c)); i++) continue;
    if (c->close_when_flushed && !wants_to_write(c)) c->dead = true;
}

/* ---- what comes in ---- */

static void on_close(struct connection *c, const uint8_t *payload, size_t size) {
    queue_close(c, size >= 2 ? (unsigned)(payload[0] << 8 | payload[1]) : 0);
}

static void answer_rpc(struct connection *c, const uint8_t *payload, size_t size) {
    const uint8_t *id = memmem(payload, size, "\"id\":", 5);
    char digits[21] = {0}, answer[160];
    if (id == NULL) return;
    size_t left = size - (size_t)(id + 5 - payload);
    memcpy(digits, id + 5, left < 20 ? left : 20);
    int used = snprintf(answer, sizeof answer,
                        "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"result\":{\"version\":\"1.2.26\"},\"usIn\":1535043730126248,"
                        "\"usOut\":1535043730126250,\"usDiff\":2,\"testnet\":false}",
                        strtoull(digits, NULL, 10));
    queue_frame(c, 0x80 | TEXT, (const uint8_t *)answer, (size_t)used);
}

static void on_data(struct connection *c, uint8_t first, const uint8_t *payload, size_t size) {
    if (c->mode == RPC && (first & 15) == TEXT) answer_rpc(c, payload, size);
    if (c->mode == CUT && size == 3 && memcmp(payload, "cut", 3) == 0) c->dead = true;
    if (c->mode == ECHO || c->mode == CUT) queue_frame(c, first, payload, size);
    if (c->mode != FLOOD || (first & 15) != TEXT || c->flood.left_bytes > 0) return;
    char digits[21] = {0};
    memcpy(digits, payload, size < 20 ? size : 20);
    start_flood(c, strtoull(digits, NULL, 10));
    end_flood_if_due(c);
}

static void on_frame(struct connection *c, uint8_t first, const uint8_t *payload, size_t size) {
    if (first & 0x70) {
        queue_close(c, 1002); /* no extension was agreed */
        return;
    }
    switch (first & 15) {
        case TEXT:
        case BINARY:
        case CONTINUATION: on_data(c, first, payload, size); break;
        case PING: queue_frame(c, 0x80 | PONG, payload, size); break;
        case PONG: break;
        case CLOSE: on_close(c, payload, size); break;
        default: queue_close(c, 1002);
    }
}

/* Bytes of extended length in a header that starts at `data`; two of its bytes are there. */
static size_t length_bytes(const uint8_t *data) {
    return (data[1] & 127) == 126 ? 2 : (data[1] & 127) == 127 ? 8 : 0;
}

static uint64_t payload_size(const uint8_t *data) {
    uint64_t size = length_bytes(data) ? 0 : data[1] & 127;
    for (size_t i = 0; i < length_bytes(data); i++) size = size << 8 | data[2 + i];
    return size;
}

/* The code to fail with for a header that is all there, or 0: clients mask (RFC 6455 5.1). */
static unsigned header_fault(const uint8_t *data) {
    if (!(data[1] & 128)) return 1002;
    return payload_size(data) > FRAME_LIMIT ? 1009 : 0;
}

/* One frame out of what was received. False when more bytes are needed, or the connection is done with. */
static bool take_frame(struct connection *c) {
    uint8_t *data = c->received.data + c->received.start;
    size_t have = held(&c->received);
    if (c->close_when_flushed || have < 2 || have < 2 + length_bytes(data)) return false;
    if (header_fault(data)) {
        queue_close(c, header_fault(data));
        return false;
    }
    size_t header = 6 + length_bytes(data), size = (size_t)payload_size(data);
    if (have < header + size) return false;
    unmask(data + header, size, data + header - 4);
    on_frame(c, data[0], data + header, size);
    consume(&c->received, header + size);
    return true;
}

/* ---- the opening handshake ---- */

/* The value of a header, case aside, up to `size` - 1 characters; "" when it is missing. */
static void header_value(const char *request, const char *name, char *out, size_t size) {
    const char *line = strcasestr(request, name);
    out[0] = 0;
    if (line == NULL) return;
    line += strlen(name);
    line += strspn(line, " \t");
    size_t length = strcspn(line, " \t\r\n");
    snprintf(out, size, "%.*s", (int)length, line);
}

static void choose_mode(struct connection *c, const char *path) {
    size_t name = strcspn(path, "?");
    if (name == 5 && strncmp(path, "/echo", name) == 0) c->mode = ECHO;
    if (name == 4 && strncmp(path, "/cut", name) == 0) c->mode = CUT;
    if (name == 4 && strncmp(path, "/rpc", name) == 0) c->mode = RPC;
    if (name == 7 && strncmp(path, "/silent", name) == 0) c->mode = SILENT;
    if (name != 6 || strncmp(path, "/flood", name) != 0) return;
    c->mode = FLOOD;
    prepare_flood(&c->flood, path);
    if (!query_number(path, "wait", 0)) start_flood(c, query_number(path, "count", 1000));
}

static void queue_text(struct connection *c, const char *text) {
    size_t size = strlen(text);
    memcpy(room(&c->waiting, size), text, size);
    c->waiting.end += size;
}

static void accept_request(struct connection *c, const char *key) {
    char joined[80], accept[29], response[256];
    uint8_t digest[20];
    snprintf(joined, sizeof joined, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key); /* RFC 6455 1.3 */
    sha1_short(joined, strlen(joined), digest);
    base64_digest(digest, accept);
    snprintf(response, sizeof response,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    queue_text(c, response);
    end_flood_if_due(c);
}

static void refuse_request(struct connection *c, const char *status) {
    char response[128];
    snprintf(response, sizeof response, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
    queue_text(c, response);
    c->close_when_flushed = true;
}

/* `request` ends in a zero byte here. */
static void answer_request(struct connection *c, const char *request) {
    char path[256] = "", key[32];
    sscanf(request, "GET %255s HTTP/1.1", path);
    header_value(request, "\r\nSec-WebSocket-Key:", key, sizeof key);
    if (strlen(key) != 24) {
        refuse_request(c, "400 Bad Request");
        return;
    }
    choose_mode(c, path);
    if (c->mode == HANDSHAKE)
        refuse_request(c, "404 Not Found");
    else
        accept_request(c, key);
}

static void take_request(struct connection *c) {
    uint8_t *data = c->received.data + c->received.start;
    uint8_t *blank = held(&c->received) ? memmem(data, held(&c->received), "\r\n\r\n", 4) : NULL;
    if (blank == NULL) {
        if (held(&c->received) > REQUEST_LIMIT) c->dead = true;
        return;
    }
    blank[3] = 0; /* a string from here on */
    answer_request(c, (const char *)data);
    consume(&c->received, (size_t)(blank + 4 - data));
}

static void read_in(struct connection *c) {
    do {
        ssize_t got = read_some(c, room(&c->received, READ_BYTES), READ_BYTES);
        if (got == GONE) c->dead = true;
        if (got < 0) return;
        c->received.end += (size_t)got;
        if (c->mode == HANDSHAKE) take_request(c);
        while (c->mode != HANDSHAKE && take_frame(c)) continue;
    } while (c->ssl && tls_more(c->ssl));
}

/* An idle connection keeps no read buffer, so that a thousand of them cost this process little. */
static void release_idle(struct connection *c) {
    if (c->mode != SILENT || held(&c->received) > 0) return;
    free(c->received.data);
    c->received = (struct buffer){0};
}

/* ---- connections ---- */

static void add_connection(int listener, bool tls) {
    int fd = accept(listener, NULL, NULL), one = 1;
    if (fd < 0) return;
    if (connection_count == MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = grown(NULL, sizeof *c);
    *c = (struct connection){.fd = fd, .ssl = tls ? tls_accepting(fd) : NULL};
    connections[connection_count++] = c;
}

static void remove_connection(size_t i) {
    struct connection *c = connections[i];
    if (c->ssl) tls_close(c);
    close(c->fd);
    free(c->received.data);
    free(c->waiting.data);
    free(c->sealed.data);
    free(c->flood.block);
    free(c->flood.ends);
    free(c);
    connections[i] = connections[--connection_count];
}

static short wanted(const struct connection *c) {
    bool reads = held(&c->waiting) < WAITING_LIMIT && !c->close_when_flushed;
    return (short)((reads ? POLLIN : 0) | (wants_to_write(c) ? POLLOUT : 0));
}

static void serve(struct connection *c, short events) {
    if (events & (POLLIN | POLLHUP | POLLERR)) read_in(c);
    if (!c->dead) write_out(c);
    release_idle(c);
}

/* ---- the process ---- */

static int listener(uint16_t *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 1024) ||
        getsockname(fd, (struct sockaddr *)&address, &size)) {
        perror("far_end: listen");
        exit(1);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    *port = ntohs(address.sin_port);
    return fd;
}

static void allow_many_files(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= MAX_CONNECTIONS + 16) return;
    files.rlim_cur = files.rlim_max < MAX_CONNECTIONS + 16 ? files.rlim_max : MAX_CONNECTIONS + 16;
    setrlimit(RLIMIT_NOFILE, &files);
}

static bool stdin_closed(void) {
    char scrap[256];
    return read(0, scrap, sizeof scrap) <= 0;
}

static time_t monotonic_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* One turn: 0 is stdin, 1 the plain listener, 2 the TLS listener (-1 where there is none), the rest connections. */
static bool turn(const int fixed[3]) {
    static struct pollfd polled[MAX_CONNECTIONS + 3];
    for (int i = 0; i < 3; i++) polled[i] = (struct pollfd){.fd = fixed[i], .events = POLLIN};
    for (size_t i = 0; i < connection_count; i++)
        polled[3 + i] = (struct pollfd){.fd = connections[i]->fd, .events = wanted(connections[i])};
    if (poll(polled, (nfds_t)(connection_count + 3), 1000) < 0) return errno == EINTR;
    if (polled[0].revents && stdin_closed()) return false;
    for (size_t i = 0; i < connection_count; i++)
        if (polled[3 + i].revents) serve(connections[i], polled[3 + i].revents);
    for (size_t i = connection_count; i-- > 0;)
        if (connections[i]->dead) remove_connection(i);
    for (int i = 1; i < 3; i++)
        if (polled[i].revents) add_connection(fixed[i], i == 2);
    return true;
}

int main(int arguments, char **argument) {
    uint16_t plain_port, tls_port = 0;
    int fixed[3] = {0, listener(&plain_port), -1};
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    if (arguments == 4) recording = argument[3];
    if (arguments >= 3 && tls_prepare(argument[1], argument[2])) fixed[2] = listener(&tls_port);
    printf("plain %u", plain_port);
    if (tls_port) printf(" tls %u", tls_port);
    printf("\n");
    fflush(stdout);
    for (time_t end = monotonic_seconds() + LIFE_SECONDS; turn(fixed) && monotonic_seconds() < end;) continue;
    return 0;
}
