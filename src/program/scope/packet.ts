import { netnsIs, socketBelongs } from './cgroup.ts';
import { cast, namedOperand, operandOf } from './operand.ts';
import { type Question, type Rule, unowned } from './rule.ts';
import type { ScopeKernel, ScopeTarget } from './scope.ts';

const TYPE = 'struct sk_buff';
const PACKET = '$__kt_packet';
const RECEIVER = '$__kt_receiver';
const HOLDER = '$__kt_holder';

/** P: the network namespace of the device that a packet is at, or the socket that it belongs to. */
export const packet: Rule = {
  class: 'P',
  claim(question) {
    const { point, kind, target, kernel } = question;
    const packet = packetOf(question);
    if (packet === undefined || kind === 'iter') return undefined;
    const belongs = packetBelongs(packet, target, kernel);
    if (belongs === undefined) {
      return unowned(
        'its packets cannot be told from others: the target has no network namespace of its own, and the kernel does not tell the cgroup of a socket',
      );
    }
    const receiver = point.fields.some(({ name }) => name === 'rx_sk') ? cast('struct sock', 'args.rx_sk') : undefined;
    const byReceiver = receiver && socketBelongs(RECEIVER, target, kernel);
    const hasNetns = target.netns !== undefined;
    return {
      class: 'P',
      owner: hasNetns ? "packet's netns" : "packet's socket",
      predicate: byReceiver
        ? `(${belongs} || { let ${RECEIVER} = ${receiver}; (${RECEIVER} != 0) && ${byReceiver} })`
        : belongs,
      notes: [
        hasNetns
          ? 'counts packets inside the network namespace, which all containers of a pod share, not at the node’s end of its cable'
          : 'the target uses the network of the node: packets without a socket are not counted',
      ],
    };
  },
};

export const packetOf = ({ point, kind }: Question): string | undefined =>
  kind === 'tracepoint' ? namedOperand(point, ['skbaddr'], TYPE) : operandOf(point, kind, TYPE);

export const isPacket = (question: Question): boolean => packetOf(question) !== undefined;

/** True for a `struct sk_buff *` at a device in the target's network namespace, or of one of its sockets. */
export function packetBelongs(packet: string, target: ScopeTarget, kernel: ScopeKernel): string | undefined {
  const knowsDevice = kernel.has('struct net_device', 'nd_net');
  const byNetns = knowsDevice ? netnsIs(`${PACKET}->dev->nd_net.net`, target, kernel) : undefined;
  const bySocket = socketBelongs(HOLDER, target, kernel);
  const terms = [
    ...(byNetns ? [`((${PACKET}->dev != 0) && ${byNetns})`] : []),
    ...(bySocket ? [`{ let ${HOLDER} = ${PACKET}->sk; (${HOLDER} != 0) && ${bySocket} }`] : []),
  ];
  return terms.length === 0 ? undefined : `{ let ${PACKET} = ${packet}; (${PACKET} != 0) && (${terms.join(' || ')}) }`;
}
