import { socketBelongs, taskBelongs } from './cgroup.ts';
import { type Rule, unowned } from './rule.ts';

/** I: what an iterator is at. */
export const iterator: Rule = {
  class: 'I',
  claim({ point, kind, target, kernel }) {
    if (kind !== 'iter') return undefined;
    const what = point.name.split(':')[1] ?? '';
    if (/^task(?:_file|_vma)?$/.test(what)) {
      const predicate = kernel.cgroups === 'id_set' ? undefined : taskBelongs('ctx->task', target, kernel);
      if (predicate) return { class: 'I', owner: "task's cgroup", predicate, notes: [] };
    }
    if (/^(?:tcp|udp)$/.test(what)) {
      if (target.netns !== undefined)
        return unowned(
          'it walks the sockets of the node’s own network namespace only',
          'tracepoint:sock:inet_sock_set_state',
        );
      const sock = what === 'tcp' ? '((struct sock *)ctx->sk_common)' : '((struct sock *)ctx->udp_sk)';
      const predicate = socketBelongs(sock, target, kernel);
      if (predicate) return { class: 'I', owner: "socket's cgroup", predicate, notes: [] };
    }
    return unowned('what it walks over has no owner that can be read');
  },
};
