#include "controller/election.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "znode/path.h"
#include "znode/znode.h"

static const char logger[] = "kafka.controller.KafkaController";

static void on_again(struct loop_timer *timer)
{
    election_check(container_of(timer, struct election, again));
}

/* What failed may pass: somebody mends a node, or its permissions, and no watch tells of that. Once
 * the session is over there is nothing to look at. */
static void look_later(struct election *election, const char *what, enum err err)
{
    if (err == ERR_ZK_SESSION_EXPIRED || err == ERR_CLOSED) {
        return;
    }
    log_limited(&election->failed_limit, LOG_ERROR, logger,
                "ZooKeeper does not let this broker find out who the controller is, or stand for "
                "it; trying again every second",
                "path=%s error=\"%s\"", what, err_text(err));
    loop_timer_set(election->loop, &election->again,
                   loop_now_ms(election->loop) + ELECTION_AGAIN_MS);
}

void election_init(struct election *election, struct loop *loop, int32_t broker_id,
                   void (*decided)(struct election *election, int32_t controller_id, int32_t epoch,
                                   int32_t epoch_version))
{
    *election = (struct election){
        .loop = loop,
        .broker_id = broker_id,
        .decided = decided,
        .won_epoch = -1,
        .won_version = -1,
    };
    zk_calls_init(&election->calls, loop);
    loop_timer_init(&election->again, on_again);
}

static void retirement_done(struct election *election)
{
    void (*fn)(void *arg) = election->retired_fn;
    election->retired_fn = NULL;
    if (fn != NULL) {
        fn(election->retired_arg);
    }
}

/* ---- Standing. */

static void read_epoch(struct election *election);

/* Without having asked for the office. Who retires meanwhile waits for this. */
static void stop_standing(struct election *election)
{
    election->standing = false;
    if (election->retired) {
        election_check(election);
    }
}

static void on_elected(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    election->standing = false;
    election->won_epoch = -1;
    election->won_version = -1;
    if (result->err == ERR_OK) {
        must(result->results_count == 2);
        election->won_epoch = election->standing_epoch;
        election->won_version = result->results[1].stat.version;
    } else if (repeated) {
        /* Somebody was faster; or we were, and the reply was lost: on_somebody() finds out. */
        election->won_epoch = election->standing_epoch;
    }
    bool overtaken = result->err == ERR_EXISTS || result->err == ERR_ZK_BAD_VERSION ||
                     result->err == ERR_NOT_FOUND;
    if (result->err != ERR_OK && !overtaken && !election->retired) {
        look_later(election, PATH_CONTROLLER, result->err);
    } else {
        election_check(election);
    }
}

static void stand(struct election *election, int32_t epoch, int32_t version)
{
    struct buf controller = {0};
    struct buf next = {0};
    election->standing_epoch = epoch + 1;
    znode_controller_encode(
        &(struct znode_controller){election->broker_id, loop_wall_ms(election->loop), -1},
        &controller);
    znode_controller_epoch_encode(election->standing_epoch, &next);
    struct zk_op ops[] = {
        {ZK_OP_CREATE, PATH_CONTROLLER, {controller.data, controller.size}, 0, ZK_EPHEMERAL},
        {ZK_OP_SET, PATH_CONTROLLER_EPOCH, {next.data, next.size}, version, 0},
    };
    zk_calls_multi(&election->calls, ops, 2, on_elected, election);
    buf_fini(&controller);
    buf_fini(&next);
}

static void on_epoch_created(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    (void)repeated;
    if (result->err == ERR_OK || result->err == ERR_EXISTS) { /* whoever made it, it is there */
        read_epoch(election);
    } else {
        look_later(election, PATH_CONTROLLER_EPOCH, result->err);
        stop_standing(election);
    }
}

static void on_epoch(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    int32_t epoch = -1;
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_create(&election->calls, PATH_CONTROLLER_EPOCH,
                        (struct bytes){(const uint8_t *)"0", 1}, ZK_PERSISTENT, on_epoch_created,
                        election);
        return;
    }
    enum err err = result->err;
    if (err == ERR_OK && !election->retired) {
        err = znode_controller_epoch_decode(result->data, &epoch, NULL);
    }
    if (err != ERR_OK) {
        look_later(election, PATH_CONTROLLER_EPOCH, err);
    }
    if (err != ERR_OK || election->retired) { /* our wish is over */
        stop_standing(election);
        return;
    }
    stand(election, epoch, result->stat.version);
}

static void read_epoch(struct election *election)
{
    zk_calls_get(&election->calls, PATH_CONTROLLER_EPOCH, false, on_epoch, election);
}

/* ---- Looking. */

/* Ours, but the reply to the election was lost: the version of the epoch node that holds our epoch
 * is the one we made, for nobody can have been elected since. */
static void on_recovered(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    int32_t epoch = -1;
    (void)repeated;
    election->reading = false;
    if (result->err == ERR_OK &&
        znode_controller_epoch_decode(result->data, &epoch, NULL) == ERR_OK &&
        epoch == election->won_epoch) {
        election->won_version = result->stat.version;
    } else {
        election->won_epoch = -1;
    }
    election_check(election);
}

static void tell(struct election *election, int32_t controller_id, bool ours)
{
    election->reading = false;
    if (!ours) {
        election->won_epoch = -1;
        election->won_version = -1;
    }
    election->decided(election, controller_id, election->won_epoch, election->won_version);
    if (election->read_again) {
        election->read_again = false;
        election_check(election);
    }
}

static void on_nobody(struct election *election)
{
    if (!election->retired && !election->standing) {
        election->standing = true;
        tell(election, -1, false);
        read_epoch(election);
        return;
    }
    tell(election, -1, false);
    if (election->retired && !election->standing) {
        retirement_done(election);
    }
}

static void on_removed(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    (void)repeated;
    election->removing = false;
    if (result->err == ERR_ZK_BAD_VERSION && !election->retired) {
        election_check(
            election); /* the epoch has changed: perhaps by hand, and ours is there yet */
    } else if (result->err != ERR_OK && result->err != ERR_NOT_FOUND && !election->retired) {
        look_later(election, PATH_CONTROLLER, result->err);
    }
    retirement_done(election); /* if that was why */
}

/* Ours as long as nobody is elected after this: a removal that is repeated must not hit the next
 * office. */
static void remove_if(struct election *election, int32_t epoch_version)
{
    struct zk_op ops[] = {
        {ZK_OP_CHECK, PATH_CONTROLLER_EPOCH, {NULL, 0}, epoch_version, 0},
        {ZK_OP_DELETE, PATH_CONTROLLER, {NULL, 0}, -1, 0},
    };
    zk_calls_multi(&election->calls, ops, 2, on_removed, election);
}

static void on_epoch_of_removal(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        remove_if(election, result->stat.version);
    } else if (result->err == ERR_NOT_FOUND) { /* taken away by hand: nobody can be elected */
        zk_calls_remove(&election->calls, PATH_CONTROLLER, -1, on_removed, election);
    } else {
        on_removed(election, result, false);
    }
}

/* An office that we gave up, or do not know how we got: out of the way. Its watch brings us back.
 */
static void remove_office(struct election *election)
{
    if (!election->removing) {
        election->removing = true;
        zk_calls_get(&election->calls, PATH_CONTROLLER_EPOCH, false, on_epoch_of_removal, election);
    }
}

/* The node is there: whose is it? An owner other than this session is an earlier life of ours, or
 * another broker. */
static void on_somebody(struct election *election, const struct zk_result *result)
{
    struct zk *zk = election->calls.zk;
    struct znode_controller controller;
    struct errmsg msg;
    if (znode_controller_decode(result->data, &controller, &msg) != ERR_OK) {
        log_error(logger, "cannot read who the controller is", "path=%s reason=\"%s\"",
                  PATH_CONTROLLER, msg.text);
        tell(election, -1, false);
        return;
    }
    bool mine = result->stat.ephemeral_owner == zk->ops->session_id(zk);
    bool ours = mine && controller.broker_id == election->broker_id && election->won_epoch >= 0 &&
                !election->retired;
    if (ours && election->won_version < 0) {
        zk_calls_get(&election->calls, PATH_CONTROLLER_EPOCH, false, on_recovered, election);
        return;
    }
    tell(election, ours || !mine ? controller.broker_id : -1, ours);
    if (mine && !ours && !election->standing) {
        remove_office(election);
    } else if (election->retired && !election->standing) {
        retirement_done(election);
    }
}

static void on_controller(void *arg, const struct zk_result *result, bool repeated);

/* Whatever somebody else has learned meanwhile, we have not. */
static void cannot_look(struct election *election, enum err err)
{
    election->reading = false;
    election->read_again = false;
    look_later(election, PATH_CONTROLLER, err);
}

static void on_controller_exists(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        zk_calls_get(&election->calls, PATH_CONTROLLER, true, on_controller, election);
    } else if (result->err == ERR_NOT_FOUND) {
        on_nobody(election);
    } else {
        cannot_look(election, result->err);
    }
}

static void on_controller(void *arg, const struct zk_result *result, bool repeated)
{
    struct election *election = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        on_somebody(election, result);
    } else if (result->err == ERR_NOT_FOUND) {
        /* Gone in between; only exists() arms a watch on a node that is not there. */
        zk_calls_exists(&election->calls, PATH_CONTROLLER, true, on_controller_exists, election);
    } else {
        cannot_look(election, result->err);
    }
}

void election_check(struct election *election)
{
    if (election->calls.zk == NULL) {
        return;
    }
    if (election->reading) {
        election->read_again = true;
        return;
    }
    election->reading = true;
    zk_calls_exists(&election->calls, PATH_CONTROLLER, true, on_controller_exists, election);
}

void election_start(struct election *election, struct zk *zk)
{
    election_stop(election);
    zk_calls_set_session(&election->calls, zk);
    election_check(election);
}

/* ---- Leaving. */

void election_abandon(struct election *election)
{
    election->won_epoch = -1;
    election->won_version = -1;
    election_check(election);
}

void election_retire(struct election *election, void (*fn)(void *arg), void *arg)
{
    must(election->retired_fn == NULL);
    election->retired = true;
    election->retired_fn = fn;
    election->retired_arg = arg;
    if (election->standing && election->calls.zk != NULL) {
        return; /* what comes of that is looked at when it is known: on_somebody(), on_nobody() */
    }
    if (election->won_version < 0 || election->calls.zk == NULL) {
        if (election->won_epoch >= 0) {
            election_check(election); /* perhaps ours: a lost reply */
        } else {
            retirement_done(election);
        }
        return;
    }
    remove_if(election, election->won_version);
}

void election_stop(struct election *election)
{
    zk_calls_set_session(&election->calls, NULL);
    loop_timer_cancel(&election->again);
    election->reading = false;
    election->read_again = false;
    election->standing = false;
    election->removing = false;
    election->won_epoch = -1;
    election->won_version = -1;
    retirement_done(election);
}
