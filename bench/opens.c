// Opens a file and closes it again for SECONDS, RATE times a second (0: as fast as it can), and prints how often.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  double seconds = atof(argv[1]), rate = atof(argv[2]), start = now();
  long opens = 0;
  for (double passed = 0; passed < seconds; passed = now() - start) {
    if (rate > 0 && opens > passed * rate) {
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
      continue;
    }
    for (int i = 0; i < 16; i++, opens++) close(open("/dev/null", O_RDONLY));
  }
  printf("%ld\n", opens);
}
