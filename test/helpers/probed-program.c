// Makes as many calls as each line of its input says, and answers with the number: known answers for probes in programs.
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) int probed_one(int n) {
  __asm__ volatile("" : "+r"(n));
  return n * 2;
}

__attribute__((noinline)) int probed_two(int n) {
  __asm__ volatile("" : "+r"(n));
  return n * 3;
}

// What <sys/sdt.h> of systemtap writes for a probe without arguments: a nop, and a note of where it is.
#define USDT(name, semaphore)                                                                                  \
  __asm__ volatile("990: nop\n"                                                                                \
                   ".pushsection .note.stapsdt,\"\",\"note\"\n"                                                \
                   ".balign 4\n.4byte 992f-991f, 994f-993f, 3\n"                                              \
                   "991: .asciz \"stapsdt\"\n992: .balign 4\n"                                                \
                   "993: .8byte 990b, _.stapsdt.base, " semaphore "\n"                                         \
                   ".asciz \"probed\"\n.asciz \"" name "\"\n.asciz \"\"\n"                                   \
                   "994: .balign 4\n.popsection\n")

__asm__(".pushsection .stapsdt.base,\"a\"\n_.stapsdt.base: .space 1\n.popsection\n");

// Counts who listens: the kernel adds one for each probe that is attached.
volatile unsigned short probed_semaphore __attribute__((section(".probes"), used));

int main(void) {
  char line[32];
  long sum = 0;
  while (fgets(line, sizeof line, stdin)) {
    int n = atoi(line);
    for (int i = 0; i < n; i++) {
      sum += probed_one(i) + probed_two(i);
      USDT("always", "0");
      if (probed_semaphore > 0) USDT("guarded", "probed_semaphore");
    }
    printf("%d %ld\n", n, sum);
    fflush(stdout);
  }
}
