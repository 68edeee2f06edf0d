/* Large answers that clients do not read. */
#include "part_fixture.h"

enum { VERSION = 1, NAMES = 36, NAME_BYTES = 30000, ASKERS = 4 };

TestSuite(unread, .init = begin_part, .fini = end_part);

/* About topics of very long names, each of which is in the answer. */
static void put_metadata(struct fake_stream *fake)
{
    static char names[NAMES][NAME_BYTES];
    struct metadata_request_metadata_request_topic topics[NAMES];
    struct metadata_request request;
    codec_init(&metadata_request_desc, &request);
    for (int i = 0; i < NAMES; i++) {
        memset(names[i], 'a' + i, NAME_BYTES);
        codec_init(&metadata_request_metadata_request_topic_desc, &topics[i]);
        topics[i].name = (struct str){names[i], NAME_BYTES};
    }
    request.topics = topics;
    request.topics_count = NAMES;
    put_request(fake, API_METADATA, VERSION, 1, &request);
    settle();
}

static void pass_ms(int64_t ms)
{
    clock_manual_advance(&test_clock, ms * 1000000);
    settle();
}

static void look_at_all(void)
{
    for (int i = CLIENTS - 1; i >= 0; i--) {
        if (client_at(i) != NULL) {
            client_check_idle(client_at(i), 0);
        }
    }
    settle();
}

static int count_open(struct fake_stream *const *askers)
{
    int open = 0;
    for (int i = 0; i < ASKERS; i++) {
        open += askers[i]->closed ? 0 : 1;
    }
    return open;
}

/* Each connection kept an answer of any size for as long as connections.max.idle.ms, or as long as
 * it took a byte now and then: thousands of clients that hang took all memory that there is. */
Test(unread, answers_are_not_kept_for_clients_that_hang_when_they_are_too_much)
{
    struct fake_stream *askers[ASKERS];
    cr_assert_eq(log_set_level("root", LOG_WARN), ERR_OK);
    for (int i = 0; i < ASKERS; i++) {
        askers[i] = connection();
        askers[i]->send_room = 5;
    }
    for (int i = 0; i < ASKERS - 1; i++) {
        put_metadata(askers[i]);
    }
    int64_t unread = atomic_load(&broker.unread_bytes);
    cr_assert_gt(unread, (ASKERS - 1) * (int64_t)NAMES * NAME_BYTES);
    cr_assert_lt(unread, BUDGET_BYTES);
    pass_ms(CLIENT_UNREAD_MS + 100);
    look_at_all();
    cr_assert_eq(count_open(askers), ASKERS, "there is room for them");
    put_metadata(askers[ASKERS - 1]);
    cr_assert_gt(atomic_load(&broker.unread_bytes), BUDGET_BYTES);
    look_at_all();
    cr_assert_eq(count_open(askers), ASKERS - 1, "one was enough");
    cr_assert(!askers[ASKERS - 1]->closed, "it has just been answered");
    cr_assert_eq(logged("W-NET-04"), 1);
    pass_ms(CLIENT_UNREAD_MS + 100);
    look_at_all();
    cr_assert_eq(count_open(askers), ASKERS - 1);
    for (int i = 0; i < ASKERS; i++) {
        askers[i]->send_room = SIZE_MAX;
    }
    settle();
    cr_assert_eq(atomic_load(&broker.unread_bytes), 0);
}
