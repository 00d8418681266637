// The programs of the test image, in one file: it does what the name says by which it was started.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Ends at once when asked to: as PID 1 it would ignore every signal that it does not handle.
static void on_end(int signal) { _exit(0); }
static void on_child(int signal) {
  while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

static int idle(void) {
  signal(SIGTERM, on_end);
  signal(SIGINT, on_end);
  signal(SIGCHLD, on_child);
  for (;;) pause();
}

// A function that probes can be put on.
__attribute__((noinline)) void call_once(void) { syscall(SYS_getppid); }

// calls N: exactly N getppid calls.
static int calls(int argc, char **argv) {
  for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0; left--) call_once();
  return 0;
}

int main(int argc, char **argv) {
  const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
  if (strcmp(name, "idle") == 0) return idle();
  if (strcmp(name, "calls") == 0) return calls(argc, argv);
  fprintf(stderr, "no program is called %s\n", name);
  return 127;
}
