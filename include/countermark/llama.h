/* countermark in llama.cpp: a sampler for any llama_sampler chain. C and C++.
 *
 *   char error[512];
 *   countermark_llama_hook * hook = countermark_llama_open_bundle("epoch.bundle", passphrase_fd, error, sizeof error);
 *   countermark_llama_options options = countermark_llama_default_options();
 *   options.account = "org-1";  options.temperature = 0.8f;  options.top_p = 0.95f;
 *   llama_sampler * marked = countermark_llama_sampler_init(hook, &options, error, sizeof error);
 *   llama_sampler_chain_add(chain, marked);            // last: it applies temperature and truncation, and chooses
 *   …
 *   llama_sampler_free(chain);  countermark_llama_close(hook);   // in this order or the other
 *
 * Rules
 *  1. The sampler is terminal: it does temperature, top-k, top-p, min-p and the choice. Penalties, logit bias and grammars go before it;
 *     samplers that truncate may, too, and then theirs is the distribution it keeps.
 *  2. Tokens accepted before the first apply are the prompt. Everything after is output, whether this sampler chose it or not.
 *  3. apply is pure; the state moves in accept alone. llama_sampler_clone and llama_sampler_reset work.
 *  4. A bad row (NaN, nothing finite, another vocabulary) is drawn plainly where it can be, counted as a fault, and never ends the process.
 *  5. A function that fails returns NULL or -1 and writes one line to `error` (never more than `size` bytes, ended by NUL). No message holds a secret.
 *  6. A hook may be used by many threads; a sampler belongs to one at a time.
 */
#ifndef COUNTERMARK_LLAMA_H_
#define COUNTERMARK_LLAMA_H_

#include <stddef.h>
#include <stdint.h>

#include <llama.h>

#if defined(__GNUC__)
#define COUNTERMARK_API __attribute__((visibility("default")))
#else
#define COUNTERMARK_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct countermark_llama_hook countermark_llama_hook;

/* Opens an epoch bundle (watermark-keys bundle). The passphrase is read from the descriptor to its end; a last newline is dropped. */
COUNTERMARK_API countermark_llama_hook * countermark_llama_open_bundle(const char * path, int passphrase_fd, char * error, size_t size);

/* Samplers made from it go on working after this. NULL is allowed. */
COUNTERMARK_API void countermark_llama_close(countermark_llama_hook * hook);

/* The number of tokens that the hook's epoch was made for. A model with fewer cannot be served by it. */
COUNTERMARK_API uint32_t countermark_llama_vocabulary(const countermark_llama_hook * hook);

typedef struct countermark_llama_options {
    size_t       struct_size;  /* set by countermark_llama_default_options */
    const char * account;      /* label of a registered account; "": of none, marked in the base channel only. NULL is an error */
    const char * request;      /* label of the request, for the request channel; NULL: "" */
    float        temperature;  /* 0: greedy, if the epoch's low-entropy policy allows it */
    int32_t      top_k;        /* 0: off */
    float        top_p;        /* 1: off */
    float        min_p;        /* 0: off */
    int32_t      seeded;       /* nonzero: plain draws repeat for this account and seed */
    uint64_t     seed;
} countermark_llama_options;

COUNTERMARK_API countermark_llama_options countermark_llama_default_options(void);

COUNTERMARK_API struct llama_sampler * countermark_llama_sampler_init(const countermark_llama_hook * hook,
                                                                      const countermark_llama_options * options, char * error,
                                                                      size_t size);

/* What became of the output's tokens so far. */
typedef struct countermark_llama_counters {
    uint64_t marked, start, greedy, repeated_window, forced, tail, fault, off;
} countermark_llama_counters;

/* 0, or -1 if `sampler` was not made by countermark_llama_sampler_init. */
COUNTERMARK_API int countermark_llama_sampler_counters(const struct llama_sampler * sampler, countermark_llama_counters * counters);

#ifdef __cplusplus
}
#endif

#endif /* COUNTERMARK_LLAMA_H_ */
