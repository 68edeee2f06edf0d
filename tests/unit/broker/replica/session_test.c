/* What a fetcher tells its leader in a fetch session. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "replica/fetcher_internal.h"

static _Atomic int64_t epoch = 77;

struct fixture {
    struct fetcher fetcher;
    struct follow follows[3];
    struct arena arena;
    struct fetch_request request;
};

/* Three partitions of one topic, at offsets 10, 20 and 30. */
static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->fetcher.options.my_id = 2;
    f->fetcher.options.epoch = &epoch;
    f->fetcher.options.wait_max_ms = 500;
    f->fetcher.session_id = 9;
    f->fetcher.session_epoch = 1;
    list_init(&f->fetcher.news);
    list_init(&f->fetcher.quiet);
    list_init(&f->fetcher.forgotten);
    for (int32_t i = 0; i < 3; i++) {
        struct follow *follow = &f->follows[i];
        follow->key.topic_id.raw[0] = 1;
        follow->key.index = i;
        follow->place = (struct follow_place){.offset = 10 + 10 * i, .leader_epoch = 4};
        list_push_back(&f->fetcher.news, &follow->link);
    }
}

static void end(struct fixture *f)
{
    fetcher_session_reset(&f->fetcher);
    buf_fini(&f->fetcher.out);
    arena_fini(&f->arena);
}

/* The next fetch, decoded. */
static const struct fetch_request *fetch(struct fixture *f, int64_t now_ms)
{
    struct request_header_view header;
    buf_clear(&f->fetcher.out);
    arena_fini(&f->arena);
    fetcher_encode(&f->fetcher, REQUEST_FETCH, now_ms);
    struct bytes frame = {f->fetcher.out.data + 4, f->fetcher.out.size - 4};
    cr_assert_eq(codec_decode_request_header(frame, &header), ERR_OK);
    cr_assert_eq(header.api_version, FETCHER_FETCH_VERSION);
    struct bytes body = {frame.data + header.used, frame.size - header.used};
    cr_assert_eq(
        codec_decode(&fetch_request_desc, header.api_version, body, &f->arena, &f->request, NULL),
        ERR_OK);
    return &f->request;
}

static int32_t asked(const struct fetch_request *request)
{
    int32_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++) {
        count += request->topics[i].partitions_count;
    }
    return count;
}

Test(fetcher_session, only_what_has_changed_is_said_again)
{
    struct fixture f;
    begin(&f);
    const struct fetch_request *request = fetch(&f, 0);
    cr_assert_eq(asked(request), 3);
    cr_assert_eq(request->topics_count, 1);
    cr_assert_eq(request->topics[0].partitions[2].fetch_offset, 30);
    cr_assert_eq(request->replica_state.replica_id, 2);
    cr_assert_eq(request->replica_state.replica_epoch, 77);
    cr_assert_eq(asked(fetch(&f, 0)), 0);
    f.follows[1].place.offset = 21;
    follow_touch(&f.fetcher, &f.follows[1]);
    request = fetch(&f, 0);
    cr_assert_eq(asked(request), 1);
    cr_assert_eq(request->topics[0].partitions[0].partition, 1);
    cr_assert_eq(request->topics[0].partitions[0].fetch_offset, 21);
    end(&f);
}

Test(fetcher_session, who_waits_leaves_the_session_and_the_leader_holds_no_longer_than_that)
{
    struct fixture f;
    begin(&f);
    fetch(&f, 0);
    f.follows[0].retry_ms = 120;
    follow_touch(&f.fetcher, &f.follows[0]);
    const struct fetch_request *request = fetch(&f, 100);
    cr_assert_eq(asked(request), 0);
    cr_assert_eq(request->forgotten_topics_data_count, 1);
    cr_assert_eq(request->forgotten_topics_data[0].partitions[0], 0);
    cr_assert_eq(request->max_wait_ms, 20);
    request = fetch(&f, 120);
    cr_assert_eq(asked(request), 1);
    cr_assert_eq(request->forgotten_topics_data_count, 0);
    cr_assert_eq(request->max_wait_ms, 500);
    end(&f);
}

/* Found by the simulator: a partition that lost its leader for a moment was asked about and
 * forgotten in one request, and then never sent again. */
Test(fetcher_session, a_partition_that_goes_and_comes_back_between_two_requests_is_not_forgotten)
{
    struct fixture f;
    begin(&f);
    fetch(&f, 0);
    struct follow *follow = &f.follows[1];
    fetcher_session_forget(&f.fetcher, follow);
    list_remove(&follow->link);
    struct follow again = {.key = follow->key, .place = follow->place};
    list_push_back(&f.fetcher.news, &again.link);
    fetcher_session_recall(&f.fetcher, &again);
    const struct fetch_request *request = fetch(&f, 0);
    cr_assert_eq(request->forgotten_topics_data_count, 0);
    cr_assert_eq(asked(request), 1);
    cr_assert_eq(request->topics[0].partitions[0].partition, 1);
    end(&f);
}

/* Found with 5,000 partitions: one of another topic between two of a topic, itself not asked about.
 * The second of the two was written behind the room for the first, over what was forgotten. */
Test(fetcher_session, a_partition_behind_one_that_waits_has_room_of_its_own)
{
    struct fixture f;
    begin(&f);
    f.follows[1].key.topic_id.raw[0] = 2;
    fetch(&f, 0);
    f.follows[1].retry_ms = 1000;
    for (int i = 0; i < 3; i++) {
        f.follows[i].place.offset++;
        follow_touch(&f.fetcher, &f.follows[i]);
    }
    const struct fetch_request *request = fetch(&f, 100);
    cr_assert_eq(asked(request), 2);
    cr_assert_eq(request->forgotten_topics_data_count, 1);
    cr_assert_eq(request->forgotten_topics_data[0].topic_id.raw[0], 2);
    cr_assert_eq(request->forgotten_topics_data[0].partitions_count, 1);
    cr_assert_eq(request->forgotten_topics_data[0].partitions[0], 1);
    end(&f);
}

Test(fetcher_session, a_new_session_says_everything)
{
    struct fixture f;
    begin(&f);
    fetch(&f, 0);
    fetcher_session_forget(&f.fetcher, &f.follows[0]);
    list_remove(&f.follows[0].link);
    fetcher_session_reset(&f.fetcher);
    const struct fetch_request *request = fetch(&f, 0);
    cr_assert_eq(request->session_id, 0);
    cr_assert_eq(request->session_epoch, 0);
    cr_assert_eq(asked(request), 2);
    cr_assert_eq(request->forgotten_topics_data_count, 0);
    end(&f);
}
