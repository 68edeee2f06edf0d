/* limits.h: every limit of the client side, with what happens at it.
 *
 * The shares are those of the budget (rt/budget.h): clients can
 * neither exhaust memory nor starve replication. */
#pragma once

enum {
    /* Requests of one connection in work at once, however large; at the limit the connection is not
     * read. Where answers wait (acks=all, flush mode) a producer of small ones would be held to
     * this many for each wait, so more are begun as long as all of them together stay below
     * CLIENT_WORK_MAX_BYTES, and what of that no budget counts below CLIENT_FREE_MAX_BYTES: about
     * what that many of the largest uncounted frames take. */
    CLIENT_REQUESTS_MIN = 8,
    CLIENT_WORK_MAX_BYTES = 1024 * 1024,
    CLIENT_FREE_MAX_BYTES = 96 * 1024,
    /* What a request takes besides its frame: itself, its arena, its reply. */
    CLIENT_REQUEST_BYTES = 2560,
    CLIENT_REQUESTS_MAX = CLIENT_FREE_MAX_BYTES / CLIENT_REQUEST_BYTES + 1, /* what follows */
    /* Bytes of replies queued in memory on one connection; above it the connection is not read. */
    CLIENT_OUTQ_MAX_BYTES = 128 * 1024,
    /* A frame up to this size costs no budget: its memory is counted in the connection's own share.
     */
    CLIENT_FREE_FRAME_BYTES = 4096,
    /* The memory of a larger frame is reserved before its bytes come. If none come for so long, and
     * others wait for memory, the connection is closed: it is looked at every
     * NETLOOP_IDLE_CHECK_MS, and when it gets the memory after it has waited itself: then what has
     * come must be more than CLIENT_FREE_FRAME_BYTES. */
    CLIENT_SILENT_FRAME_MS = 5000,
    /* So it is if, after that time, the frame is behind a pace at which it comes whole in this:
     * else a byte now and then would keep the memory for ever. Clients give up sooner by
     * themselves (request.timeout.ms, 30 s). While nobody waits a frame may come as slowly as it
     * does. */
    CLIENT_SLOW_FRAME_MS = 60000,
    /* Answers that have not left yet take no budget, or who does not read would stop whoever
     * writes. When all of them together take more memory than requests may, connections of which
     * nothing has been taken for so long are closed: each has the answer of one request beside
     * CLIENT_OUTQ_MAX_BYTES, which may be large, and there may be thousands of them. They are
     * looked at every NETLOOP_IDLE_CHECK_MS. Answers up to CLIENT_FREE_FRAME_BYTES do not count. */
    CLIENT_UNREAD_MS = 30000,
    /* Requests that a loop keeps for the next ones, each with a block of its arena and room
     * for a small reply: making them anew costs five allocations a request. Larger ones are freed.
     */
    CLIENT_SPARE_REQUESTS_MAX = 512,
    CLIENT_SPARE_ARENA_BYTES = 4096,
    CLIENT_SPARE_REPLY_BYTES = 512,
    /* Partitions in one fetch request or fetch session; more are answered with INVALID_REQUEST. */
    FETCH_PARTITIONS_MAX = 100000,
    /* Records in one answer, whatever configuration and request allow: its size must be an int32.
     */
    FETCH_REPLY_MAX_BYTES = 1024 * 1024 * 1024,
    /* A fetch whose memory is counted waits so long at most, whatever its client says. Then it is
     * answered as if its time were over, and waits for memory behind all others when it asks again.
     */
    FETCH_COUNTED_WAIT_MS = 5000,
    /* The memory of a fetch up to which it copies small ranges that it has read anyway; beyond, it
     * sends them from their files. No budget counts it. */
    FETCH_COPY_ARENA_BYTES = 1024 * 1024,
    /* Groups, or partitions of offsets, in one request about groups: their answers take many times
     * the memory of the questions. Above it the connection is closed. */
    GROUP_ITEMS_MAX = 1000000,
    /* What the coordinators have said for one request about groups, in memory: a large group can be
     * asked for very often. Above it the connection is closed. */
    GROUP_ANSWER_MAX_BYTES = 128 * 1024 * 1024,
    /* What the answer about configurations takes in memory until it is encoded, which is at most
     * four times that: a few bytes ask for all keys of a broker with their documentation, 50,000
     * bytes, and may do so very often. Above it the connection is closed. */
    DESCRIBE_ANSWER_MAX_BYTES = 128 * 1024 * 1024,
    /* What a broker keeps of groups and offsets, in all partitions of __consumer_offsets that it
     * leads; above it new members, and commits for partitions without an offset, are answered with
     * COORDINATOR_NOT_AVAILABLE, above twice of it all joins, syncs and commits are
     * (grp_config.memory_bytes_max). What comes with a partition whose leader has failed is loaded
     * in any case, or commits would be lost. */
    GROUP_MEMORY_MAX_BYTES = 512 * 1024 * 1024,
    /* Of that one partition may have so much, with the same consequences: a member may send
     * metadata as large as a frame, and whoever fills a partition does not stop all others. */
    GROUP_MEMORY_PART_MAX_BYTES = 256 * 1024 * 1024,
    /* The members of one group with their metadata: the leader's JoinGroup is answered with all of
     * it. Above it a join is answered with GROUP_MAX_SIZE_REACHED. A group is also one record,
     * which must stay below max.message.bytes of its topic, and does not become stable otherwise.
     */
    GROUP_MAX_BYTES = 128 * 1024 * 1024,
};

/* What one request to create topics, or partitions of topics, may take in memory for where the
 * replicas are to go and what the topics will be: a few bytes ask for 50,000 partitions. Topics of
 * the request for which nothing is left are refused with POLICY_VIOLATION. */
enum { CREATE_PLANS_MAX_BYTES = 64 * 1024 * 1024 };

/* Refused batches of one produce request of which is said what is wrong, and with which records;
 * others only have an error code. */
enum { PRODUCE_DETAILS_MAX = 1000 };

/* The decoded form of a request takes at most CODEC_EXPANSION_MAX bytes for each byte of its frame,
 * and is charged to the budget on top of the frame: others wait until it is paid back. Nothing is
 * charged for what handlers make for each of its parts, up to twenty times that, so the connection
 * is closed when it would be larger than this: a million partitions, ten times
 * FETCH_PARTITIONS_MAX. So it is where its arrays have more elements than this: as numbers alone
 * partitions are small, and what is made of each is not.
 */
enum { REQUEST_DECODED_MAX_BYTES = 32 * 1024 * 1024, REQUEST_PARTS_MAX = 2 * 1024 * 1024 };

/* What the compressed batches of one produce request may take when they are decompressed to be
 * looked at or made anew, one after the other: each takes milliseconds of the loop for some
 * kilobytes. Beyond, they are refused with MESSAGE_TOO_LARGE. */
enum { PRODUCE_INFLATED_MAX_BYTES = 256 * 1024 * 1024 };

/* Batches of one produce request that are made anew, because their topics want another codec, in
 * memory: they can be a thousand times as large as they came, and all are there at once. Charged to
 * the budget, too. Further ones are refused with MESSAGE_TOO_LARGE. */
enum { PRODUCE_REBUILT_MAX_BYTES = 256 * 1024 * 1024 };

/* Memory for clients' requests when `queued.max.request.bytes` is not set: a share of the
 * machine's. Brokers have their own where they have a listener of their own, else they share it. */
#define BUDGET_CLIENT_DEFAULT_BYTES   ((int64_t)256 << 20)
#define BUDGET_INTERNAL_DEFAULT_BYTES ((int64_t)128 << 20)
