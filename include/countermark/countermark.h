/* countermark for inference servers: one hook for all running requests, one call a decoding step. C and C++; libcountermark.so.
 *
 *   countermark_keys * keys = countermark_keys_new(NULL);
 *   countermark_passphrase source = {sizeof source, passphrase_fd, NULL, NULL};
 *   if (countermark_keys_open_bundle(keys, "2026-11.bundle", &source)) die(countermark_keys_message(keys));
 *
 *   countermark_hook_options options = countermark_hook_default_options();
 *   options.max_slots = 256;  options.max_length = 32768;  options.device = 0;         // COUNTERMARK_CPU: on the host
 *   countermark_hook * hook;
 *   if (countermark_hook_create(keys, &options, &hook)) die(countermark_keys_message(keys));
 *
 *   countermark_request request = countermark_default_request();
 *   request.account = "org-1";  request.temperature = 0.8f;  request.top_p = 0.95f;
 *   countermark_begin(hook, slot, &request, stream);
 *   …
 *   countermark_batch batch = countermark_default_batch();                              // each decoding step
 *   batch.slots = slots;  batch.rows = n;  batch.logits = logits;  batch.dtype = COUNTERMARK_BF16;
 *   batch.row_stride = batch.columns = vocabulary;  batch.out_tokens = tokens;  batch.commit = 1;  batch.stream = stream;
 *   countermark_sample(hook, &batch);
 *   …
 *   countermark_end(hook, slot, stream);
 *
 * Rules
 *  1. Handles are opaque. A struct that crosses starts with struct_size, set by its countermark_default_… function (or by hand): a library newer
 *     than the caller takes the fields that the caller knows, and an older one refuses fields it does not know unless they are zero.
 *  2. Every function that can fail returns a countermark_status; the message of a handle's last failure, one line without any secret, is
 *     had from its …_message function and lives until the handle's next call on the same thread or its end. No exception crosses; a
 *     failed call changes no request, unless said.
 *  3. Memory: with a CPU hook all pointers of a batch are host memory; with a device hook `slots`, `depths`, `drafts`, `logits` and the outputs
 *     are memory that the device can reach. Pointers outside a batch (labels, prompts, tokens of commit and rebuild) are always host memory.
 *  4. sample and bias queue their work on `stream` (a cudaStream_t; ignored by a CPU hook) and return: no allocation, no wait for the device,
 *     and they can be captured in a CUDA graph. The arrays of a batch must stay until the stream has passed.
 *  5. A hook belongs to one thread and one stream at a time; different hooks are independent and may share one countermark_keys.
 *  6. Serving never breaks for the mark's sake. Doubts at the start (no epoch at this time, a failed self-test, a file that others may read) refuse
 *     the start. Later, a fault in a row or a request (bad slot, NaN, too long, unknown account, an epoch that ended) leaves those tokens unmarked and
 *     counted; no call fails for it unless its whole batch cannot be read.
 *  7. Given equal logits, a row's token is the same on every device, whatever else is in the batch.
 *  8. The prompt is never committed: only generated tokens are.
 *  9. The account comes from the server's authentication, never from the client. Where that names none, `account` is "": the request is marked in the epoch's base
 *     channel only, the windows of its other channels are drawn plainly and counted as off, and nobody's account is named for the text. NULL is an error.
 * 10. Masks come before a step, and a position is sampled once: its noise depends on its key and place alone, so that a second choice after a refusal
 *     would lean towards the neighbours of the refused token. A host that must look at the token first passes it to its grammar and, on a refusal, draws by
 *     its own means and commits what it took (counted as forced).
 */
#ifndef COUNTERMARK_COUNTERMARK_H_
#define COUNTERMARK_COUNTERMARK_H_

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define COUNTERMARK_EXPORT __attribute__((visibility("default")))
#else
#define COUNTERMARK_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define COUNTERMARK_ABI_VERSION 0  /* the SOVERSION of libcountermark.so */

typedef enum countermark_status {
  COUNTERMARK_OK = 0,
  COUNTERMARK_INVALID_ARGUMENT = 1,  /* a null pointer, a size or a parameter out of range */
  COUNTERMARK_NOT_FOUND = 2,         /* no such file */
  COUNTERMARK_DENIED = 3,            /* wrong passphrase or an altered file; a file that others may read */
  COUNTERMARK_CORRUPT = 4,           /* not a bundle, or cut short, or of a version this build does not know */
  COUNTERMARK_WRONG_EPOCH = 5,       /* no epoch opened is in use at this time; or scheme or vocabulary are not the hook's */
  COUNTERMARK_SELF_TEST_FAILED = 6,  /* this build on this device does not reproduce the format's known answers: it must not mark */
  COUNTERMARK_UNKNOWN_ACCOUNT = 7,   /* begin: the slot has begun all the same, unmarked */
  COUNTERMARK_POLICY = 8,            /* begin: the epoch takes no request below its entropy floor; the slot has not begun */
  COUNTERMARK_DEVICE = 9,            /* the CUDA runtime's error, named in the message; or a build without CUDA */
  COUNTERMARK_OUT_OF_MEMORY = 10,
  COUNTERMARK_INTERNAL = 11
} countermark_status;

COUNTERMARK_EXPORT const char * countermark_version(void);                       /* "0.1.0" */
COUNTERMARK_EXPORT const char * countermark_status_name(countermark_status status); /* "wrong epoch" */
COUNTERMARK_EXPORT int countermark_has_cuda(void);                               /* whether this build can use a device */

/* ---- Keys: the epoch bundles a serving host holds. Never the master. ------------------------------------------------------ */

typedef struct countermark_keys countermark_keys;

/* Where a passphrase comes from: `callback` if there is one, else the descriptor, read to its end. The callback writes at most `size` bytes to
 * `buffer` and returns how many, or -1; the buffer is wiped afterwards. A last newline is dropped. */
typedef struct countermark_passphrase {
  size_t struct_size;
  int    fd;
  int (* callback)(void * user, char * buffer, size_t size);
  void * user;
} countermark_passphrase;

typedef struct countermark_keys_options {
  size_t struct_size;
  int64_t (* now)(void * user);  /* seconds since 1970, UTC; NULL: the system's clock */
  void * user;                   /* must outlive the keys and every hook made from them */
} countermark_keys_options;

COUNTERMARK_EXPORT countermark_keys * countermark_keys_new(const countermark_keys_options * options);  /* NULL: out of memory */
/* Opens a bundle (watermark-keys bundle). Open the next epoch's before its time, while serving: each request begins with the epoch
 * whose first and last use its beginning lies between (of several, the one that started last), and keeps it to its end. May be called from any
 * thread. A hook refuses bundles of another scheme or vocabulary than its own when a request would begin with them (COUNTERMARK_WRONG_EPOCH). The same
 * epoch's bundle again takes the place of the first: that is how new accounts come in. One of another tenant, or of an open epoch with another key or
 * record, is COUNTERMARK_INVALID_ARGUMENT. */
COUNTERMARK_EXPORT countermark_status countermark_keys_open_bundle(countermark_keys * keys, const char * path, const countermark_passphrase * source);
/* "tenant/epoch" of the epoch that a request beginning now would get, or NULL. Lives until the next call. */
COUNTERMARK_EXPORT const char * countermark_keys_epoch(countermark_keys * keys);
COUNTERMARK_EXPORT const char * countermark_keys_message(const countermark_keys * keys);
/* Hooks made from it go on working. NULL is allowed. */
COUNTERMARK_EXPORT void countermark_keys_free(countermark_keys * keys);

/* ---- The hook ------------------------------------------------------------------------------------------------------------- */

typedef struct countermark_hook countermark_hook;

#define COUNTERMARK_CPU (-1)

typedef struct countermark_hook_options {
  size_t  struct_size;
  int32_t device;                /* COUNTERMARK_CPU, or a CUDA device's number */
  int32_t max_slots;             /* requests at once; default 256 */
  int32_t max_rows;              /* rows a call; 0: max_slots */
  int32_t max_length;            /* tokens a request; beyond, they are unmarked and counted; default 32768 */
  int32_t vocabulary;            /* tokens; 0: the epoch's. Otherwise it must be the epoch's */
  int32_t max_columns;           /* logits a row, padding included; 0: the vocabulary rounded up to a multiple of 256 */
  int32_t scheme;                /* 1 partition, 2 tournament, 3 gumbel; 0: the epoch's. Otherwise it must be the epoch's */
  int32_t tournament_candidates; /* M, fixed for a deployment; 0: 1024 */
  int32_t account_cache;         /* accounts whose keys are kept derived; 0: 4096 */
  int32_t marking;               /* 0: the same hook with the mark left out, for comparisons; default 1 */
} countermark_hook_options;

COUNTERMARK_EXPORT countermark_hook_options countermark_hook_default_options(void);
/* Allocates everything it will ever use and runs the self-test on the very device. On failure *hook is NULL and the message is the keys'. */
COUNTERMARK_EXPORT countermark_status countermark_hook_create(countermark_keys * keys, const countermark_hook_options * options, countermark_hook ** hook);
COUNTERMARK_EXPORT const char * countermark_hook_message(const countermark_hook * hook);
/* Waits for the device, wipes keys, frees. NULL is allowed. */
COUNTERMARK_EXPORT void countermark_hook_free(countermark_hook * hook);

/* ---- Requests ------------------------------------------------------------------------------------------------------------- */

typedef struct countermark_request {
  size_t           struct_size;
  const char *     account;      /* label; "": of no account, marked in the base channel only (rule 9). Required */
  const char *     request;      /* label of the request, for the request channel; NULL: "" */
  float            temperature;  /* 0: greedy, if the epoch's low-entropy policy allows it */
  int32_t          top_k;        /* 0: off */
  float            top_p;        /* 1: off */
  float            min_p;        /* 0: off */
  int32_t          seeded;       /* nonzero: plain draws repeat for this account and seed, those of requests without an account among themselves */
  uint64_t         seed;
  const uint32_t * prompt;       /* for requests that the floor policy changes: the same prompt gets the same draws; may be NULL */
  size_t           prompt_size;
} countermark_request;

COUNTERMARK_EXPORT countermark_request countermark_default_request(void);

/* A slot starts anew; what it held is wiped. COUNTERMARK_UNKNOWN_ACCOUNT and COUNTERMARK_WRONG_EPOCH leave a slot that is sampled with the request's
 * parameters, unmarked, its tokens counted as faults; after other failures the slot is empty. */
COUNTERMARK_EXPORT countermark_status countermark_begin(countermark_hook * hook, int32_t slot, const countermark_request * request, void * stream);
/* The next tokens of the request's output, whoever chose them. Not needed after a sample with `commit`. A token is counted under the cause that the step
 * before said, if it and those before it in this call are the step's; else as forced. What a step said holds for one call. */
COUNTERMARK_EXPORT countermark_status countermark_commit(countermark_hook * hook, int32_t slot, const uint32_t * tokens, size_t n, void * stream);
/* The same for many slots at once, one token each, from memory of the hook's kind (rule 3): for hosts whose tokens never leave the device.
 * COUNTERMARK_NO_TOKEN is passed over; of several rows that name a slot the first is taken. */
COUNTERMARK_EXPORT countermark_status countermark_commit_rows(countermark_hook * hook, const int32_t * slots, const int32_t * tokens, int32_t rows, void * stream);
/* Forgets the last n tokens (all, where there are fewer). */
COUNTERMARK_EXPORT countermark_status countermark_rollback(countermark_hook * hook, int32_t slot, size_t n, void * stream);
/* Replaces everything committed, as after a preemption: causes are kept up to the first token that differs, the others are forced. After
 * COUNTERMARK_OUT_OF_MEMORY some are missing: rebuild again. */
COUNTERMARK_EXPORT countermark_status countermark_rebuild(countermark_hook * hook, int32_t slot, const uint32_t * tokens, size_t n, void * stream);
/* Wipes the slot. */
COUNTERMARK_EXPORT countermark_status countermark_end(countermark_hook * hook, int32_t slot, void * stream);

/* ---- A decoding step ------------------------------------------------------------------------------------------------------ */

typedef enum countermark_dtype { COUNTERMARK_F32 = 0, COUNTERMARK_F16 = 1, COUNTERMARK_BF16 = 2 } countermark_dtype;

#define COUNTERMARK_NO_TOKEN (-1)
#define COUNTERMARK_MAX_DRAFTS 31

/* What became of a token. */
typedef enum countermark_cause {
  COUNTERMARK_MARKED = 0, COUNTERMARK_START = 1, COUNTERMARK_GREEDY = 2, COUNTERMARK_REPEATED_WINDOW = 3,
  COUNTERMARK_FORCED = 4, COUNTERMARK_TAIL = 5, COUNTERMARK_FAULT = 6, COUNTERMARK_OFF = 7
} countermark_cause;

/* Rows of logits, after the server's penalties and grammar masks (-inf stays -inf) and before temperature and truncation.
 *
 * Speculative decoding: a slot with k drafts has k + 1 rows, one after another, with depths 0 … k; drafts[r] is the token that the draft model
 * proposes for row r (the last row's is not read). Row r of depth d is sampled as if drafts[r - d … r - 1] had been committed. The tokens that hold are
 * those up to and including the first that differs from its draft: out_accepted[r] of the depth-0 row says how many. They are, token by token,
 * those of plain marked sampling, for every scheme: a position's noise depends on its key and its place alone, so there is no residual to draw, and
 * whoever made the drafts cannot bend the output. Drafting with this same hook (sample with depths, without commit, on the draft model's logits)
 * makes drafts agree most often. */
typedef struct countermark_batch {
  size_t            struct_size;
  int32_t           rows;
  const int32_t *   slots;        /* rows */
  const int32_t *   depths;       /* rows, or NULL: all 0 */
  const int32_t *   drafts;       /* rows; required with depths */
  void *            logits;       /* rows × row_stride of dtype; sample only reads it, bias changes it */
  countermark_dtype dtype;
  int32_t           columns;      /* logits a row, ≥ the vocabulary; what lies beyond the vocabulary is never chosen */
  int64_t           row_stride;   /* elements from one row to the next, ≥ columns */
  int32_t *         out_tokens;   /* rows; COUNTERMARK_NO_TOKEN where no logit is finite */
  float *           out_logprobs; /* rows, or NULL: ln of the token's probability in the unmarked, truncated distribution */
  uint8_t *         out_causes;   /* rows of countermark_cause, or NULL */
  int32_t *         out_accepted; /* rows, or NULL */
  int32_t           commit;       /* nonzero: commit the tokens that hold */
  void *            stream;
} countermark_batch;

COUNTERMARK_EXPORT countermark_batch countermark_default_batch(void);
COUNTERMARK_EXPORT countermark_status countermark_sample(countermark_hook * hook, const countermark_batch * batch);
/* For hosts that keep their own sampler: changes the logits in place. Partition adds δ to the green tokens' logits (times the request's temperature, by
 * which the host divides), and leaves a position without a mark to the host; the host truncates before and then draws with the request's own
 * parameters. The other schemes, greedy requests and faults leave one token finite. out_tokens says which (COUNTERMARK_NO_TOKEN: the host
 * chooses; so it does where a row's slot has not begun, and that row is left alone). Columns beyond the vocabulary become -inf. Commit with
 * countermark_commit or countermark_commit_rows; `commit` must be 0. */
COUNTERMARK_EXPORT countermark_status countermark_bias(countermark_hook * hook, const countermark_batch * batch);

/* ---- What happened -------------------------------------------------------------------------------------------------------- */

typedef struct countermark_metrics {
  size_t   struct_size;
  uint64_t marked, start, greedy, repeated_window, forced, tail, fault, off;  /* tokens committed, by cause; less those rolled back */
  uint64_t bad_slots;        /* rows and calls whose slot had not begun, or stood twice, or whose depth did not follow */
  uint64_t bad_rows;         /* rows with NaN, +inf or nothing finite */
  uint64_t too_long;         /* tokens beyond max_length */
  uint64_t unknown_accounts; /* requests begun without a key */
  uint64_t ended_epochs;     /* requests begun when no epoch was in use, or one of another scheme or vocabulary */
  uint64_t requests;         /* begun */
  int32_t  slots_in_use, slots;
  uint64_t steps;            /* calls of sample and bias */
  double   last_step_seconds, all_steps_seconds;
} countermark_metrics;

/* Waits for the device. The totals are of the hook's whole life. */
COUNTERMARK_EXPORT countermark_status countermark_metrics_read(countermark_hook * hook, countermark_metrics * metrics);
/* Of one slot: the causes of its committed tokens, in countermark_cause's order. Waits for the device. */
COUNTERMARK_EXPORT countermark_status countermark_request_counters(countermark_hook * hook, int32_t slot, uint64_t counters[8]);

#ifdef __cplusplus
}
#endif

#endif /* COUNTERMARK_COUNTERMARK_H_ */
