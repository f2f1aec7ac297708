/* C99: the defaults, and what a missing bundle, missing arguments and an early hook are answered with. */
#include <stdio.h>
#include <string.h>

#include "countermark/countermark.h"

static int64_t fixed_time(void * user) { return *(const int64_t *)user; }

static int give(void * user, char * buffer, size_t size) {
  const char * text = user;
  if (strlen(text) > size) return -1;
  memcpy(buffer, text, strlen(text));
  return (int)strlen(text);
}

int main(void) {
  int64_t now = 1795000000;
  countermark_keys_options options = {sizeof options, fixed_time, &now};
  countermark_keys * keys = countermark_keys_new(&options);
  if (keys == NULL || countermark_keys_epoch(keys) != NULL) return 1;

  char secret[] = "secret of mine";
  countermark_passphrase source = {sizeof source, -1, give, secret};
  if (countermark_keys_open_bundle(keys, "no-such-file.bundle", &source) != COUNTERMARK_NOT_FOUND) return 2;
  const char * message = countermark_keys_message(keys);
  printf("%s\n", message);
  if (strstr(message, "no-such-file.bundle") == NULL || strchr(message, '\n') != NULL || strstr(message, secret) != NULL) return 3;

  countermark_hook_options hook_options = countermark_hook_default_options();
  countermark_hook * hook = NULL;
  if (hook_options.struct_size != sizeof hook_options || hook_options.device != COUNTERMARK_CPU || hook_options.max_slots != 256) return 4;
  if (countermark_hook_create(keys, &hook_options, &hook) != COUNTERMARK_WRONG_EPOCH || hook != NULL) return 5;
  printf("%s: %s\n", countermark_status_name(COUNTERMARK_WRONG_EPOCH), countermark_keys_message(keys));

  countermark_request request = countermark_default_request();
  countermark_batch batch = countermark_default_batch();
  if (request.temperature != 1.0f || request.top_p != 1.0f || batch.struct_size != sizeof batch) return 6;
  if (countermark_begin(NULL, 0, &request, NULL) != COUNTERMARK_INVALID_ARGUMENT) return 7;
  if (countermark_sample(NULL, &batch) != COUNTERMARK_INVALID_ARGUMENT) return 8;
  if (strlen(countermark_version()) < 5) return 9;
  printf("%s, CUDA: %s\n", countermark_version(), countermark_has_cuda() ? "yes" : "no");

  countermark_hook_free(hook);
  countermark_keys_free(keys);
  return 0;
}
