import type { Container } from './ports.ts';

const KERNELS = [
  [/^(?:runsc|gvisor)/, 'gVisor'],
  [/^kata/, 'Kata'],
] as const;

/** The sandbox that runs a container's system calls in a kernel of its own, by its runtime handler; undefined for most. */
export const ownKernelOf = ({ handler = '' }: Pick<Container, 'handler'>): string | undefined =>
  KERNELS.find(([pattern]) => pattern.test(handler))?.[1];
