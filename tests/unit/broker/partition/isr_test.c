#include "partition/isr.h"

#include <criterion/criterion.h>

enum { LAG_MS = 1000 };

static const int32_t three[] = {1, 2, 3};

/* Broker 1 leads from offset 100 on; `members` of {1, 2, 3} are in sync. */
static void lead(struct isr *isr, int32_t members, int32_t min_insync)
{
    struct isr_state state = {.leader_epoch = 5,
                              .partition_epoch = 7,
                              .replicas = three,
                              .members = three,
                              .replicas_count = 3,
                              .members_count = members};
    isr_init(isr, 1, LAG_MS);
    isr_set_min_insync(isr, min_insync);
    isr_lead(isr, &state, 100, 0);
}

static enum err fetched(struct isr *isr, int32_t id, int64_t offset, int64_t leader_end,
                        int64_t now_ms)
{
    struct isr_fetch fetch = {.replica_id = id,
                              .broker_epoch = 40 + id,
                              .fetch_offset = offset,
                              .leader_end = leader_end};
    return isr_fetched(isr, &fetch, now_ms);
}

static bool proposes(struct isr *isr, int64_t end, int64_t hw, bool shrink, int64_t now_ms,
                     struct isr_proposal *out)
{
    return isr_propose(isr, end, hw, shrink, now_ms, out);
}

Test(isr, high_watermark_waits_for_every_member)
{
    struct isr isr;
    lead(&isr, 3, 2);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 0), 90, "nothing is known of the followers");
    cr_assert_eq(fetched(&isr, 2, 120, 120, 10), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 10), 90, "broker 3 is still unknown");
    cr_assert_eq(fetched(&isr, 3, 110, 120, 10), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 10), 110);
    cr_assert_eq(fetched(&isr, 3, 105, 120, 20), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 110, 20), 110, "it never goes back");
    isr_fini(&isr);
}

Test(isr, high_watermark_stands_still_below_min_insync_replicas)
{
    struct isr isr;
    lead(&isr, 1, 2);
    cr_assert_not(isr_enough(&isr));
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 0), 90);
    isr_set_min_insync(&isr, 1);
    cr_assert(isr_enough(&isr));
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 0), 120);
    isr_fini(&isr);
}

/* The controller remembers somebody outside of the ISR as complete: so it has to stay, also when
 * this leader has heard that fewer are enough before the controller has. */
Test(isr, high_watermark_stands_still_while_others_count_as_complete)
{
    struct isr isr;
    struct isr_state state = {.leader_epoch = 5,
                              .partition_epoch = 8,
                              .members = three,
                              .members_count = 1,
                              .frozen = true};
    struct isr_proposal proposal;
    lead(&isr, 2, 2);
    cr_assert_eq(fetched(&isr, 2, 110, 120, 0), ERR_OK);
    cr_assert(proposes(&isr, 120, 90, true, LAG_MS + 1, &proposal));
    isr_proposal_fini(&proposal);
    isr_answered(&isr, ERR_OK, &state);
    isr_set_min_insync(&isr, 1);
    cr_assert_not(isr_enough(&isr));
    cr_assert_eq(isr_high_watermark(&isr, 120, 110, LAG_MS + 1), 110);
    state.partition_epoch = 9;
    state.frozen = false;
    isr_answered(&isr, ERR_OK, &state);
    cr_assert(isr_enough(&isr));
    cr_assert_eq(isr_high_watermark(&isr, 120, 110, 3 * LAG_MS), 120);
    isr_fini(&isr);
}

Test(isr, min_insync_never_asks_for_more_than_there_are_replicas)
{
    static const int32_t one[] = {1};
    struct isr_state state = {
        .replicas = one, .members = one, .replicas_count = 1, .members_count = 1};
    struct isr isr;
    isr_init(&isr, 1, LAG_MS);
    isr_set_min_insync(&isr, 3);
    isr_lead(&isr, &state, 0, 0);
    cr_assert(isr_enough(&isr));
    isr_fini(&isr);
}

Test(isr, a_forged_or_foreign_follower_moves_nothing)
{
    struct isr isr;
    lead(&isr, 3, 1);
    cr_assert_eq(fetched(&isr, 9, 120, 120, 0), ERR_NOT_LEADER_OR_FOLLOWER);
    cr_assert_eq(fetched(&isr, 1, 120, 120, 0), ERR_NOT_LEADER_OR_FOLLOWER, "ourselves");
    cr_assert_eq(fetched(&isr, 2, 121, 120, 0), ERR_OFFSET_OUT_OF_RANGE, "beyond our log");
    cr_assert_eq(fetched(&isr, 2, -1, 120, 0), ERR_OFFSET_OUT_OF_RANGE);
    cr_assert_eq(fetched(&isr, 3, 120, 120, 0), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 0), 90, "broker 2 has said nothing that counts");
    isr_fini(&isr);
}

Test(isr, a_fetch_of_an_earlier_life_of_a_broker_is_ignored)
{
    struct isr isr;
    struct isr_fetch late = {
        .replica_id = 2, .broker_epoch = 41, .fetch_offset = 120, .leader_end = 120};
    lead(&isr, 2, 1);
    cr_assert_eq(fetched(&isr, 2, 100, 120, 0), ERR_OK); /* epoch 42 */
    cr_assert_eq(isr_fetched(&isr, &late, 1), ERR_STALE_BROKER_EPOCH);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 1), 100);
    isr_fini(&isr);
}

Test(isr, a_replica_enters_when_it_has_reached_high_watermark_and_epoch_start)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 1, 1);
    fetched(&isr, 2, 99, 120, 0);
    cr_assert_not(proposes(&isr, 120, 90, false, 0, &proposal), "below the start of the epoch");
    fetched(&isr, 2, 100, 120, 0);
    cr_assert_not(proposes(&isr, 120, 101, false, 0, &proposal), "below the high watermark");
    fetched(&isr, 2, 101, 120, 0);
    cr_assert(proposes(&isr, 120, 101, false, 0, &proposal));
    cr_assert_eq(proposal.leader_epoch, 5);
    cr_assert_eq(proposal.partition_epoch, 7);
    cr_assert_eq(proposal.count, 2);
    cr_assert_eq(proposal.members[1], 2);
    cr_assert_eq(proposal.epochs[0], -1, "our own is for whoever sends it");
    cr_assert_eq(proposal.epochs[1], 42);
    isr_proposal_fini(&proposal);
    isr_fini(&isr);
}

Test(isr, while_a_change_is_proposed_both_sets_must_have_a_record)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 1, 1);
    fetched(&isr, 2, 110, 120, 0);
    cr_assert(proposes(&isr, 120, 100, false, 0, &proposal));
    isr_proposal_fini(&proposal);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS * 9), 110, "the one proposed counts");
    cr_assert_not(proposes(&isr, 120, 100, true, 0, &proposal), "one proposal at a time");
    /* Written by somebody else meanwhile: either set may be in force. */
    isr_answered(&isr, ERR_INVALID_UPDATE_VERSION, NULL);
    cr_assert(isr.pending);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS * 9), 110);
    /* Refused: nothing was written. */
    isr_answered(&isr, ERR_INELIGIBLE_REPLICA, NULL);
    cr_assert_not(isr.pending);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS * 9), 120);
    isr_fini(&isr);
}

Test(isr, a_member_that_falls_behind_leaves_but_counts_until_the_controller_has_said_yes)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 3, 1);
    fetched(&isr, 2, 120, 120, 500);
    fetched(&isr, 3, 110, 120, 500);
    cr_assert_not(proposes(&isr, 120, 100, true, LAG_MS, &proposal), "not yet");
    fetched(&isr, 2, 120, 120, LAG_MS + 1);
    cr_assert(proposes(&isr, 120, 100, true, LAG_MS + 1, &proposal));
    cr_assert_eq(proposal.count, 2);
    cr_assert_eq(proposal.members[1], 2);
    isr_proposal_fini(&proposal);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS + 2), 110, "still a member");
    struct isr_state state = {
        .leader_epoch = 5, .partition_epoch = 8, .members = three, .members_count = 2};
    isr_answered(&isr, ERR_OK, &state);
    cr_assert_eq(isr_high_watermark(&isr, 120, 110, LAG_MS + 2), 120);
    cr_assert_eq(isr.members_count, 2);
    cr_assert_eq(isr.partition_epoch, 8);
    isr_fini(&isr);
}

Test(isr, a_replica_that_was_taken_away_is_not_needed_for_the_minimum)
{
    /* A controller had written the replicas at the end of a move, and died before it began an epoch
     * with them: the leader, who was told in the old one, asked for two in sync of one for ever. */
    struct isr isr;
    static const int32_t mine[] = {1};
    lead(&isr, 1, 2);
    cr_assert_not(isr_enough(&isr));
    isr_assign(&isr, mine, 1);
    cr_assert(isr_enough(&isr));
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, 0), 120);
    isr_fini(&isr);
}

Test(isr, what_is_known_of_replicas_that_stay_is_not_forgotten)
{
    struct isr isr;
    static const int32_t others[] = {1, 3, 4};
    lead(&isr, 2, 1);
    fetched(&isr, 2, 105, 120, 0);
    fetched(&isr, 3, 110, 120, 0);
    isr_assign(&isr, others, 3);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS * 9), 105, "2 is in sync all the same");
    cr_assert_eq(isr.replicas_count, 4);
    fetched(&isr, 4, 90, 120, 0);
    cr_assert_eq(isr_high_watermark(&isr, 120, 100, LAG_MS * 9), 105, "4 is not");
    isr_fini(&isr);
}

Test(isr, a_member_without_news_to_fetch_never_leaves)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 2, 1);
    fetched(&isr, 2, 120, 120, 0);
    cr_assert_not(proposes(&isr, 120, 120, true, LAG_MS * 100, &proposal));
    isr_fini(&isr);
}

Test(isr, a_member_that_reads_as_fast_as_we_write_stays_although_never_at_the_end)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 2, 1);
    for (int64_t i = 0; i < 50; i++) {
        fetched(&isr, 2, 100 + i * 10, 110 + i * 10, i * 100);
        cr_assert_not(proposes(&isr, 110 + i * 10, 100, true, i * 100, &proposal));
    }
    isr_fini(&isr);
}

Test(isr, an_answer_of_another_epoch_or_an_older_version_changes_nothing)
{
    struct isr isr;
    lead(&isr, 3, 1);
    struct isr_state other_epoch = {
        .leader_epoch = 4, .partition_epoch = 9, .members = three, .members_count = 1};
    struct isr_state older = {
        .leader_epoch = 5, .partition_epoch = 6, .members = three, .members_count = 1};
    isr_answered(&isr, ERR_OK, &other_epoch);
    isr_answered(&isr, ERR_OK, &older);
    cr_assert_eq(isr.members_count, 3);
    isr_fini(&isr);
}

Test(isr, low_watermark_is_the_lowest_start_in_the_isr_and_unknown_while_a_member_is)
{
    struct isr isr;
    struct isr_fetch fetch = {.replica_id = 2,
                              .broker_epoch = 42,
                              .fetch_offset = 100,
                              .log_start = 10,
                              .leader_end = 120};
    lead(&isr, 2, 1); /* broker 3 is not in sync, so nobody waits for it */
    cr_assert_eq(isr_low_watermark(&isr, 50), -1);
    cr_assert_eq(isr_fetched(&isr, &fetch, 0), ERR_OK);
    cr_assert_eq(isr_low_watermark(&isr, 50), 10);
    fetch.log_start = 60;
    cr_assert_eq(isr_fetched(&isr, &fetch, 1), ERR_OK);
    cr_assert_eq(isr_low_watermark(&isr, 50), 50, "our own start counts, too");
    isr_fini(&isr);
}

Test(isr, a_refused_replica_is_neither_proposed_again_nor_waited_for_until_it_fetches)
{
    /* A broker that has just left in a controlled shutdown: its last fetch had come after the
     * controller took it out. Asking again and again flooded the controller, and the high watermark
     * waited for it for lag_ms. */
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 2, 2);
    fetched(&isr, 2, 120, 120, 0);
    fetched(&isr, 3, 120, 120, 0);
    cr_assert(proposes(&isr, 120, 90, false, 0, &proposal));
    isr_proposal_fini(&proposal);
    isr_answered(&isr, ERR_INELIGIBLE_REPLICA, NULL);
    cr_assert_not(proposes(&isr, 120, 90, false, 0, &proposal), "not at once");
    fetched(&isr, 2, 130, 130, 10);
    cr_assert_eq(isr_high_watermark(&isr, 130, 120, 10), 130, "it is not waited for");
    cr_assert_not(proposes(&isr, 130, 130, true, 10, &proposal), "not when another fetches");
    fetched(&isr, 3, 125, 130, 20);
    cr_assert_eq(isr_high_watermark(&isr, 140, 130, 20), 130, "it is back, and keeps up");
    fetched(&isr, 3, 130, 130, 30);
    cr_assert(proposes(&isr, 130, 130, false, 30, &proposal), "it asks again");
    isr_proposal_fini(&proposal);
    isr_fini(&isr);
}

/* A follower died, left for being slow, and was let in again at once, because it had reached the
 * high watermark before; and so on, as long as its broker was registered. */
Test(isr, who_has_left_enters_again_by_a_fetch_only)
{
    struct isr isr;
    struct isr_proposal proposal;
    struct isr_state two = {
        .leader_epoch = 5, .partition_epoch = 8, .members = three, .members_count = 2};
    lead(&isr, 3, 2);
    cr_assert_eq(fetched(&isr, 2, 120, 120, 10), ERR_OK);
    cr_assert_eq(fetched(&isr, 3, 110, 110, 10), ERR_OK);
    cr_assert_eq(fetched(&isr, 2, 120, 120, LAG_MS + 20), ERR_OK);
    cr_assert(proposes(&isr, 120, 110, true, LAG_MS + 20, &proposal));
    isr_proposal_fini(&proposal);
    isr_answered(&isr, ERR_OK, &two);
    cr_assert_not(isr_is_member(&isr, 3));
    cr_assert_not(proposes(&isr, 120, 110, false, LAG_MS + 20, &proposal), "it may be dead");
    cr_assert_eq(fetched(&isr, 3, 110, 120, LAG_MS + 30), ERR_OK);
    cr_assert(proposes(&isr, 120, 110, false, LAG_MS + 30, &proposal));
    cr_assert_eq(proposal.count, 3);
    isr_proposal_fini(&proposal);
    isr_fini(&isr);
}

Test(isr, a_consumer_is_sent_to_a_member_that_has_its_record_and_most_behind_it)
{
    static const int32_t both[] = {2, 3};
    struct isr isr;
    lead(&isr, 3, 1);
    cr_assert_eq(isr_best_reader(&isr, both, 2, 100), -1, "nothing is known of the followers");
    cr_assert_eq(fetched(&isr, 2, 110, 120, 10), ERR_OK);
    cr_assert_eq(fetched(&isr, 3, 115, 120, 10), ERR_OK);
    cr_assert_eq(isr_best_reader(&isr, both, 2, 100), 3);
    cr_assert_eq(isr_best_reader(&isr, both, 1, 100), 2, "only those who are asked about");
    cr_assert_eq(isr_best_reader(&isr, both, 2, 112), 3);
    cr_assert_eq(isr_best_reader(&isr, both, 2, 116), -1, "nobody has it");
    cr_assert_eq(isr_best_reader(&isr, three, 1, 100), -1, "we are not meant");
    isr_fini(&isr);
    lead(&isr, 2, 1);
    cr_assert_eq(fetched(&isr, 3, 115, 120, 10), ERR_OK);
    cr_assert_eq(isr_best_reader(&isr, both, 2, 100), -1, "broker 3 is not in sync");
    isr_fini(&isr);
}

/* ---- flush mode ---- */

static enum err flushed(struct isr *isr, int32_t id, int64_t offset, int64_t flushed_end,
                        int64_t leader_end, int64_t now_ms)
{
    struct isr_fetch fetch = {.replica_id = id,
                              .broker_epoch = 40 + id,
                              .fetch_offset = offset,
                              .flushed_end = flushed_end,
                              .leader_end = leader_end};
    return isr_fetched(isr, &fetch, now_ms);
}

Test(isr, in_flush_mode_only_what_is_on_the_disks_counts)
{
    struct isr isr;
    lead(&isr, 3, 2);
    isr_set_flush(&isr, true);
    cr_assert_eq(flushed(&isr, 2, 120, 120, 120, 10), ERR_OK);
    cr_assert_eq(flushed(&isr, 3, 120, 105, 120, 10), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 10), 105);
    cr_assert_eq(flushed(&isr, 3, 120, 500, 120, 10), ERR_OK);
    cr_assert_eq(isr_high_watermark(&isr, 120, 90, 10), 120, "no more than it has");
    isr_fini(&isr);
}

Test(isr, in_flush_mode_a_replica_enters_when_its_disk_has_reached_the_high_watermark)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 1, 1);
    isr_set_flush(&isr, true);
    cr_assert_eq(flushed(&isr, 2, 120, 119, 120, 10), ERR_OK);
    cr_assert_not(proposes(&isr, 120, 120, false, 10, &proposal));
    cr_assert_eq(flushed(&isr, 2, 120, 120, 120, 20), ERR_OK);
    cr_assert(proposes(&isr, 120, 120, false, 20, &proposal));
    isr_proposal_fini(&proposal);
    isr_fini(&isr);
}

/* Its disk is always two fetches behind what it asks for: it keeps up all the same. */
Test(isr, in_flush_mode_a_disk_that_is_a_little_behind_keeps_up)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 3, 1);
    isr_set_flush(&isr, true);
    for (int64_t at = 0; at <= 3 * LAG_MS; at += 100) {
        int64_t end = 200 + at;
        cr_assert_eq(flushed(&isr, 2, end - 100, end - 250, end, at), ERR_OK);
        cr_assert_eq(flushed(&isr, 3, end, end, end, at), ERR_OK);
        cr_assert_not(proposes(&isr, end, 0, true, at, &proposal), "at %d", (int)at);
    }
    isr_fini(&isr);
}

Test(isr, in_flush_mode_a_disk_that_stands_still_leaves)
{
    struct isr isr;
    struct isr_proposal proposal;
    lead(&isr, 2, 1);
    isr_set_flush(&isr, true);
    for (int64_t at = 0; at <= LAG_MS; at += 100) {
        cr_assert_eq(flushed(&isr, 2, 200 + at, 150, 200 + at, at), ERR_OK);
    }
    cr_assert(proposes(&isr, 2000, 0, true, LAG_MS + 1, &proposal));
    cr_assert_eq(proposal.count, 1);
    isr_proposal_fini(&proposal);
    isr_fini(&isr);
}
