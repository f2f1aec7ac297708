/* A server's loop in small: six requests of three accounts in one batch; libllama gives the logits, countermark chooses and marks.
 *   serve MODEL.gguf EPOCH.bundle 3< passphrase > answers.jsonl */
#include <stdio.h>
#include <unistd.h>

#include <countermark/countermark.h>
#include <llama.h>

enum { SLOTS = 6, LENGTH = 220, PROMPT = 128 };
static const char * accounts[] = {"org-a", "org-b", "org-c"};
static const char * subjects[] = {"a ship's cook who can predict storms", "an old forest in autumn", "two brothers who inherit a mill",
                                  "a clockmaker who wanted to stop time", "a train that never arrives", "a librarian and her last book"};

static int fail(const char * why) { return fprintf(stderr, "serve: error: %s\n", why), 2; }
static void add(struct llama_batch * batch, llama_token token, llama_pos position, int slot, int logits) {
  const int i = batch->n_tokens++;
  batch->token[i] = token, batch->pos[i] = position, batch->n_seq_id[i] = 1, batch->seq_id[i][0] = slot, batch->logits[i] = (int8_t)logits;
}

int main(int argc, char ** argv) {
  if (argc != 3) return fail("usage: serve MODEL.gguf EPOCH.bundle 3< passphrase");
  struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = SLOTS * (PROMPT + LENGTH), params.n_seq_max = SLOTS, params.n_batch = params.n_ubatch = SLOTS * PROMPT;
  params.n_threads = params.n_threads_batch = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
  struct llama_context * context = model != NULL ? llama_init_from_model(model, params) : NULL;
  if (context == NULL) return fail("libllama cannot load the model, or has no room for this context");
  const struct llama_vocab * vocab = llama_model_get_vocab(model);

  countermark_keys * keys = countermark_keys_new(NULL); /* once, before anything is served: any doubt ends it here */
  const countermark_passphrase source = {sizeof source, 3, NULL, NULL};
  countermark_hook_options options = countermark_hook_default_options();
  options.max_slots = SLOTS, options.vocabulary = options.max_columns = llama_vocab_n_tokens(vocab);
  countermark_hook * hook;
  if (countermark_keys_open_bundle(keys, argv[2], &source) || countermark_hook_create(keys, &options, &hook)) return fail(countermark_keys_message(keys));

  static int32_t prompt[PROMPT], answers[SLOTS][LENGTH], length[SLOTS], position[SLOTS], slots[SLOTS], tokens[SLOTS];
  struct llama_batch batch = llama_batch_init(SLOTS * PROMPT, 0, 1);
  for (int s = 0; s < SLOTS; ++s) { /* requests arrive */
    char text[512];
    const int bytes = snprintf(text, sizeof text, "<|im_start|>user\nWrite a long story about %s.<|im_end|>\n<|im_start|>assistant\n", subjects[s]);
    const int n = llama_tokenize(vocab, text, bytes, prompt, PROMPT, 1, 1);
    countermark_request request = countermark_default_request();
    request.account = accounts[s % 3], request.top_p = 0.95f, request.seeded = 1, request.seed = (uint64_t)s;
    request.prompt = (const uint32_t *)prompt, request.prompt_size = n > 0 ? (size_t)n : 0;
    if (n < 1 || countermark_begin(hook, s, &request, NULL)) return fail(n < 1 ? "a prompt is too long" : countermark_hook_message(hook));
    for (; position[s] < n; ++position[s]) add(&batch, prompt[position[s]], position[s], s, position[s] + 1 == n);
    slots[s] = s;
  }

  for (int running = SLOTS; running > 0;) { /* decoding steps */
    if (llama_decode(context, batch) != 0) return fail("libllama cannot evaluate the batch");
    countermark_batch step = countermark_default_batch();
    step.rows = running, step.slots = slots, step.out_tokens = tokens, step.commit = 1;
    step.logits = llama_get_logits(context), step.dtype = COUNTERMARK_F32, step.row_stride = step.columns = options.vocabulary;
    if (countermark_sample(hook, &step)) return fail(countermark_hook_message(hook));
    batch.n_tokens = running = 0;
    for (int r = 0; r < step.rows; ++r) {
      const int s = slots[r];
      if (tokens[r] == COUNTERMARK_NO_TOKEN || llama_vocab_is_eog(vocab, tokens[r]) || length[s] == LENGTH) {
        countermark_end(hook, s, NULL);
        printf("{\"id\": \"%d\", \"account\": \"%s\", \"token_ids\": [", s, accounts[s % 3]);
        for (int i = 0; i < length[s]; ++i) printf("%s%d", i ? ", " : "", answers[s][i]);
        puts("]}");
        continue;
      }
      add(&batch, answers[s][length[s]++] = tokens[r], position[s]++, s, 1);
      slots[running++] = s;
    }
  }

  countermark_metrics m = {.struct_size = sizeof m};
  if (countermark_metrics_read(hook, &m)) return fail(countermark_hook_message(hook));
  fprintf(stderr, "serve: %llu tokens marked, %llu not for repeated windows, %llu faults\n", (unsigned long long)m.marked,
          (unsigned long long)m.repeated_window, (unsigned long long)m.fault);
  countermark_hook_free(hook), countermark_keys_free(keys);
  return llama_batch_free(batch), llama_free(context), llama_model_free(model), 0;
}
