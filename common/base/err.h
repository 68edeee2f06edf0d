/* err.h: every way an operation can fail, in one list.
 *
 * One enum serves the whole program: failures of the environment (a disk, a socket, ZooKeeper),
 * which stay inside, and failures that a client is told, which carry Kafka's code. err_wire() maps
 * any of them to the code that goes on the wire. A function that can fail returns enum err and is
 * MUST_USE; details for people go into a struct errmsg beside it.
 *
 * Threads: any. Source of the wire codes: Kafka 3.9, org.apache.kafka.common.protocol.Errors. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))

/* X(name, wire code, retriable, text). Kafka's own errors first, in the order of their codes. */
#define ERR_LIST_WIRE(X)                                                                           \
    X(OFFSET_OUT_OF_RANGE, 1, false, "offset out of range")                                        \
    X(CORRUPT_MESSAGE, 2, true, "corrupt message")                                                 \
    X(UNKNOWN_TOPIC_OR_PARTITION, 3, true, "unknown topic or partition")                           \
    X(INVALID_FETCH_SIZE, 4, false, "invalid fetch size")                                          \
    X(LEADER_NOT_AVAILABLE, 5, true, "leader not available")                                       \
    X(NOT_LEADER_OR_FOLLOWER, 6, true, "not leader or follower")                                   \
    X(REQUEST_TIMED_OUT, 7, true, "request timed out")                                             \
    X(BROKER_NOT_AVAILABLE, 8, false, "broker not available")                                      \
    X(REPLICA_NOT_AVAILABLE, 9, true, "replica not available")                                     \
    X(MESSAGE_TOO_LARGE, 10, false, "message too large")                                           \
    X(STALE_CONTROLLER_EPOCH, 11, false, "stale controller epoch")                                 \
    X(OFFSET_METADATA_TOO_LARGE, 12, false, "offset metadata too large")                           \
    X(NETWORK_EXCEPTION, 13, true, "network exception")                                            \
    X(COORDINATOR_LOAD_IN_PROGRESS, 14, true, "coordinator load in progress")                      \
    X(COORDINATOR_NOT_AVAILABLE, 15, true, "coordinator not available")                            \
    X(NOT_COORDINATOR, 16, true, "not coordinator")                                                \
    X(INVALID_TOPIC_EXCEPTION, 17, false, "invalid topic exception")                               \
    X(RECORD_LIST_TOO_LARGE, 18, false, "record list too large")                                   \
    X(NOT_ENOUGH_REPLICAS, 19, true, "not enough replicas")                                        \
    X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, true, "not enough replicas after append")              \
    X(INVALID_REQUIRED_ACKS, 21, false, "invalid required acks")                                   \
    X(ILLEGAL_GENERATION, 22, false, "illegal generation")                                         \
    X(INCONSISTENT_GROUP_PROTOCOL, 23, false, "inconsistent group protocol")                       \
    X(INVALID_GROUP_ID, 24, false, "invalid group id")                                             \
    X(UNKNOWN_MEMBER_ID, 25, false, "unknown member id")                                           \
    X(INVALID_SESSION_TIMEOUT, 26, false, "invalid session timeout")                               \
    X(REBALANCE_IN_PROGRESS, 27, false, "rebalance in progress")                                   \
    X(INVALID_COMMIT_OFFSET_SIZE, 28, false, "invalid commit offset size")                         \
    X(TOPIC_AUTHORIZATION_FAILED, 29, false, "topic authorization failed")                         \
    X(GROUP_AUTHORIZATION_FAILED, 30, false, "group authorization failed")                         \
    X(CLUSTER_AUTHORIZATION_FAILED, 31, false, "cluster authorization failed")                     \
    X(INVALID_TIMESTAMP, 32, false, "invalid timestamp")                                           \
    X(UNSUPPORTED_SASL_MECHANISM, 33, false, "unsupported sasl mechanism")                         \
    X(ILLEGAL_SASL_STATE, 34, false, "illegal sasl state")                                         \
    X(UNSUPPORTED_VERSION, 35, false, "unsupported version")                                       \
    X(TOPIC_ALREADY_EXISTS, 36, false, "topic already exists")                                     \
    X(INVALID_PARTITIONS, 37, false, "invalid partitions")                                         \
    X(INVALID_REPLICATION_FACTOR, 38, false, "invalid replication factor")                         \
    X(INVALID_REPLICA_ASSIGNMENT, 39, false, "invalid replica assignment")                         \
    X(INVALID_CONFIG, 40, false, "invalid config")                                                 \
    X(NOT_CONTROLLER, 41, true, "not controller")                                                  \
    X(INVALID_REQUEST, 42, false, "invalid request")                                               \
    X(UNSUPPORTED_FOR_MESSAGE_FORMAT, 43, false, "unsupported for message format")                 \
    X(POLICY_VIOLATION, 44, false, "policy violation")                                             \
    X(OUT_OF_ORDER_SEQUENCE_NUMBER, 45, false, "out of order sequence number")                     \
    X(DUPLICATE_SEQUENCE_NUMBER, 46, false, "duplicate sequence number")                           \
    X(INVALID_PRODUCER_EPOCH, 47, false, "invalid producer epoch")                                 \
    X(INVALID_TXN_STATE, 48, false, "invalid txn state")                                           \
    X(INVALID_PRODUCER_ID_MAPPING, 49, false, "invalid producer id mapping")                       \
    X(INVALID_TRANSACTION_TIMEOUT, 50, false, "invalid transaction timeout")                       \
    X(CONCURRENT_TRANSACTIONS, 51, true, "concurrent transactions")                                \
    X(TRANSACTION_COORDINATOR_FENCED, 52, false, "transaction coordinator fenced")                 \
    X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 53, false, "transactional id authorization failed")   \
    X(SECURITY_DISABLED, 54, false, "security disabled")                                           \
    X(OPERATION_NOT_ATTEMPTED, 55, false, "operation not attempted")                               \
    X(KAFKA_STORAGE_ERROR, 56, true, "kafka storage error")                                        \
    X(LOG_DIR_NOT_FOUND, 57, false, "log dir not found")                                           \
    X(SASL_AUTHENTICATION_FAILED, 58, false, "sasl authentication failed")                         \
    X(UNKNOWN_PRODUCER_ID, 59, false, "unknown producer id")                                       \
    X(REASSIGNMENT_IN_PROGRESS, 60, false, "reassignment in progress")                             \
    X(DELEGATION_TOKEN_AUTH_DISABLED, 61, false, "delegation token auth disabled")                 \
    X(DELEGATION_TOKEN_NOT_FOUND, 62, false, "delegation token not found")                         \
    X(DELEGATION_TOKEN_OWNER_MISMATCH, 63, false, "delegation token owner mismatch")               \
    X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, 64, false, "delegation token request not allowed")     \
    X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, 65, false, "delegation token authorization failed")   \
    X(DELEGATION_TOKEN_EXPIRED, 66, false, "delegation token expired")                             \
    X(INVALID_PRINCIPAL_TYPE, 67, false, "invalid principal type")                                 \
    X(NON_EMPTY_GROUP, 68, false, "non empty group")                                               \
    X(GROUP_ID_NOT_FOUND, 69, false, "group id not found")                                         \
    X(FETCH_SESSION_ID_NOT_FOUND, 70, true, "fetch session id not found")                          \
    X(INVALID_FETCH_SESSION_EPOCH, 71, true, "invalid fetch session epoch")                        \
    X(LISTENER_NOT_FOUND, 72, true, "listener not found")                                          \
    X(TOPIC_DELETION_DISABLED, 73, false, "topic deletion disabled")                               \
    X(FENCED_LEADER_EPOCH, 74, true, "fenced leader epoch")                                        \
    X(UNKNOWN_LEADER_EPOCH, 75, true, "unknown leader epoch")                                      \
    X(UNSUPPORTED_COMPRESSION_TYPE, 76, false, "unsupported compression type")                     \
    X(STALE_BROKER_EPOCH, 77, false, "stale broker epoch")                                         \
    X(OFFSET_NOT_AVAILABLE, 78, true, "offset not available")                                      \
    X(MEMBER_ID_REQUIRED, 79, false, "member id required")                                         \
    X(PREFERRED_LEADER_NOT_AVAILABLE, 80, true, "preferred leader not available")                  \
    X(GROUP_MAX_SIZE_REACHED, 81, false, "group max size reached")                                 \
    X(FENCED_INSTANCE_ID, 82, false, "fenced instance id")                                         \
    X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, true, "eligible leaders not available")                  \
    X(ELECTION_NOT_NEEDED, 84, true, "election not needed")                                        \
    X(NO_REASSIGNMENT_IN_PROGRESS, 85, false, "no reassignment in progress")                       \
    X(GROUP_SUBSCRIBED_TO_TOPIC, 86, false, "group subscribed to topic")                           \
    X(INVALID_RECORD, 87, false, "invalid record")                                                 \
    X(UNSTABLE_OFFSET_COMMIT, 88, true, "unstable offset commit")                                  \
    X(THROTTLING_QUOTA_EXCEEDED, 89, true, "throttling quota exceeded")                            \
    X(PRODUCER_FENCED, 90, false, "producer fenced")                                               \
    X(RESOURCE_NOT_FOUND, 91, false, "resource not found")                                         \
    X(DUPLICATE_RESOURCE, 92, false, "duplicate resource")                                         \
    X(UNACCEPTABLE_CREDENTIAL, 93, false, "unacceptable credential")                               \
    X(INCONSISTENT_VOTER_SET, 94, false, "inconsistent voter set")                                 \
    X(INVALID_UPDATE_VERSION, 95, false, "invalid update version")                                 \
    X(FEATURE_UPDATE_FAILED, 96, false, "feature update failed")                                   \
    X(PRINCIPAL_DESERIALIZATION_FAILURE, 97, false, "principal deserialization failure")           \
    X(SNAPSHOT_NOT_FOUND, 98, false, "snapshot not found")                                         \
    X(POSITION_OUT_OF_RANGE, 99, false, "position out of range")                                   \
    X(UNKNOWN_TOPIC_ID, 100, true, "unknown topic id")                                             \
    X(DUPLICATE_BROKER_REGISTRATION, 101, false, "duplicate broker registration")                  \
    X(BROKER_ID_NOT_REGISTERED, 102, false, "broker id not registered")                            \
    X(INCONSISTENT_TOPIC_ID, 103, true, "inconsistent topic id")                                   \
    X(INCONSISTENT_CLUSTER_ID, 104, false, "inconsistent cluster id")                              \
    X(TRANSACTIONAL_ID_NOT_FOUND, 105, false, "transactional id not found")                        \
    X(FETCH_SESSION_TOPIC_ID_ERROR, 106, true, "fetch session topic id error")                     \
    X(INELIGIBLE_REPLICA, 107, false, "ineligible replica")                                        \
    X(NEW_LEADER_ELECTED, 108, false, "new leader elected")                                        \
    X(OFFSET_MOVED_TO_TIERED_STORAGE, 109, false, "offset moved to tiered storage")                \
    X(FENCED_MEMBER_EPOCH, 110, false, "fenced member epoch")                                      \
    X(UNRELEASED_INSTANCE_ID, 111, false, "unreleased instance id")                                \
    X(UNSUPPORTED_ASSIGNOR, 112, false, "unsupported assignor")                                    \
    X(STALE_MEMBER_EPOCH, 113, false, "stale member epoch")                                        \
    X(MISMATCHED_ENDPOINT_TYPE, 114, false, "mismatched endpoint type")                            \
    X(UNSUPPORTED_ENDPOINT_TYPE, 115, false, "unsupported endpoint type")                          \
    X(UNKNOWN_CONTROLLER_ID, 116, false, "unknown controller id")                                  \
    X(UNKNOWN_SUBSCRIPTION_ID, 117, false, "unknown subscription id")                              \
    X(TELEMETRY_TOO_LARGE, 118, false, "telemetry too large")                                      \
    X(INVALID_REGISTRATION, 119, false, "invalid registration")                                    \
    X(TRANSACTION_ABORTABLE, 120, false, "transaction abortable")                                  \
    X(INVALID_RECORD_STATE, 121, false, "invalid record state")                                    \
    X(SHARE_SESSION_NOT_FOUND, 122, true, "share session not found")                               \
    X(INVALID_SHARE_SESSION_EPOCH, 123, true, "invalid share session epoch")                       \
    X(FENCED_STATE_EPOCH, 124, false, "fenced state epoch")                                        \
    X(INVALID_VOTER_KEY, 125, false, "invalid voter key")                                          \
    X(DUPLICATE_VOTER, 126, false, "duplicate voter")                                              \
    X(VOTER_NOT_FOUND, 127, false, "voter not found")

/* Failures that never leave the process under their own name: X(name, wire code told, retriable,
 * text). */
#define ERR_LIST_INTERNAL(X)                                                                       \
    X(IO, 56, true, "input/output error")                                                          \
    X(NO_SPACE, 56, true, "no space left on device")                                               \
    X(NO_FILES, 56, true, "too many open files")                                                   \
    X(NOT_FOUND, -1, false, "not found")                                                           \
    X(EXISTS, -1, false, "exists already")                                                         \
    X(CORRUPT, 2, false, "corrupt data")                                                           \
    X(MALFORMED, 42, false, "malformed bytes")                                                     \
    X(NO_MEMORY, -1, true, "memory budget exhausted")                                              \
    X(AGAIN, -1, true, "would block")                                                              \
    X(CLOSED, 13, true, "connection closed")                                                       \
    X(TIMEOUT, 7, true, "timed out")                                                               \
    X(INVALID, 42, false, "invalid value")                                                         \
    X(LOCKED, -1, false, "locked by another process")                                              \
    X(PERMISSION, -1, false, "permission denied")                                                  \
    X(ZK_CONNECTION_LOSS, -1, true, "ZooKeeper connection lost; the outcome is unknown")           \
    X(ZK_SESSION_EXPIRED, -1, false, "ZooKeeper session expired")                                  \
    X(ZK_BAD_VERSION, -1, false, "ZooKeeper node has another version")                             \
    X(ZK_NOT_EMPTY, -1, false, "ZooKeeper node has children")                                      \
    X(ZK_OTHER, -1, false, "ZooKeeper error")                                                      \
    X(CONTROLLER_MOVED, 41, true, "another broker is the controller now")

enum err {
    ERR_OK = 0,
    ERR_UNKNOWN_SERVER_ERROR,
#define X(name, wire, retriable, text) ERR_##name,
    ERR_LIST_WIRE(X) ERR_LIST_INTERNAL(X)
#undef X
        ERR_COUNT
};

/* Kafka's code for `err`; 0 for ERR_OK, -1 (UNKNOWN_SERVER_ERROR) where a client has no better
 * name. */
int16_t err_wire(enum err err);

/* The error that a wire code names; ERR_UNKNOWN_SERVER_ERROR for a code that Kafka 3.9 does not
 * know. */
enum err err_from_wire(int16_t code);

/* The error's name as Kafka spells it, for example "NOT_LEADER_OR_FOLLOWER"; "NONE" for ERR_OK. */
const char *err_name(enum err err);

/* A short lower-case phrase for messages to people. */
const char *err_text(enum err err);

bool err_retriable(enum err err);

/* The error that a positive errno value stands for (ENOSPC -> ERR_NO_SPACE, ...; ERR_IO by
 * default). */
enum err err_from_errno(int errnum);

/* Room for one message to a person: what happened, with which value, why, what to do. Longer text
 * is cut. */
struct errmsg {
    char text[1024];
};

/* Replace the message. `msg` may be NULL, then nothing happens. */
void errmsg_set(struct errmsg *msg, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " in front of what is there. */
void errmsg_wrap(struct errmsg *msg, const char *format, ...) __attribute__((format(printf, 2, 3)));
