import { netnsIs, socketBelongs } from './cgroup.ts';
import { cast, namedOperand, operandOf, parameterOf } from './operand.ts';
import { isPacket, packetBelongs, packetOf } from './packet.ts';
import { type Claim, type Question, type Rule, rawForm, unowned } from './rule.ts';
import { type Translation, toRaw } from './translation.ts';

const TYPE = 'struct sock';
const SOCKET = '$__kt_socket';
const NO_SOCKET =
  'its sockets cannot be told from others: the kernel does not tell their cgroup, and the target has no network namespace of its own';

/** S: the cgroup in which the socket was made, whoever holds it now and whatever runs when the event happens. */
export const socket: Rule = {
  class: 'S',
  claim(question) {
    const found = find(question);
    if (found === undefined || 'class' in found) return found;
    const { target, kernel } = question;
    const { socket, translation } = found;
    const packet = packetOf(question);
    const byCgroup = socketBelongs(SOCKET, target, kernel);
    const own = byCgroup ?? netnsIs(`${SOCKET}->__sk_common.skc_net.net`, target, kernel);
    if (own === undefined) return unowned(NO_SOCKET);
    const byPacket = packet && packetBelongs(packet, target, kernel);
    // What the kernel answers without a socket has a packet only.
    const belongs = byPacket ? `((${SOCKET} != 0) ? ${own} : ${byPacket})` : `(${SOCKET} != 0) && ${own}`;
    return {
      class: 'S',
      owner: byCgroup ? "socket's cgroup" : "socket's netns",
      // In a variable: the verifier must see that the pointer which is read is the one that was compared with 0.
      predicate: `{ let ${SOCKET} = ${socket}; ${belongs} }`,
      notes: byCgroup
        ? ['a socket is counted where it was made; sockets in TIME_WAIT or half open are not attributable']
        : ['counts the network namespace, which all containers of a pod share'],
      ...(translation && { translation }),
    };
  },
};

function find(question: Question): { socket: string; translation?: Translation } | Claim | undefined {
  const { point, kind, row, uses } = question;
  if (kind === 'iter') return undefined;
  if (kind !== 'tracepoint') {
    const socket = operandOf(point, kind, TYPE);
    return socket === undefined ? undefined : { socket };
  }
  const socket = namedOperand(point, row?.class === 'S' ? ['skaddr', 'sk'] : ['skaddr'], TYPE);
  if (socket !== undefined) return { socket };
  const at = row?.class === 'S' && !isPacket(question) ? parameterOf(point, TYPE) : undefined;
  if (at === undefined) return undefined;
  const translation = toRaw(point, uses);
  if ('why' in translation)
    return unowned(`only its raw form hands over the socket, and ${translation.why}`, rawForm(question));
  return { socket: cast(TYPE, `arg${at}`), translation };
}
