import { isIP } from 'node:net';
import { KerntapError } from '../errors.ts';

export const MAX_SELECTOR_CHARS = 1_024;

/** The largest pid that a 64-bit kernel gives (PID_MAX_LIMIT of include/linux/threads.h). */
const MAX_PID = 4_194_304;

const OWNERS = {
  deployment: 'Deployment',
  daemonset: 'DaemonSet',
  statefulset: 'StatefulSet',
  job: 'Job',
} as const;

/** What a caller named, in the forms that `target` has. */
export type Selector =
  | { readonly kind: 'node'; readonly name?: string }
  /** The id of a row of list_targets. */
  | { readonly kind: 'row'; readonly id: string }
  | NamedSelector;

export type NamedSelector =
  | { readonly kind: 'pod'; readonly namespace: string; readonly pod: string; readonly container?: string }
  /** A pod whose name nobody knows, or one of several of a name. */
  | { readonly kind: 'uid'; readonly uid: string }
  | { readonly kind: 'label'; readonly namespace: string; readonly key: string; readonly value: string }
  | { readonly kind: 'owner'; readonly namespace: string; readonly owner: string; readonly name: string }
  /** A container's id, the beginning of one, or its name. */
  | { readonly kind: 'container'; readonly text: string }
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'cgroup'; readonly path: string }
  | { readonly kind: 'systemd'; readonly unit: string }
  | { readonly kind: 'ip'; readonly address: string };

/** Reads a target's text. Throws `target.invalid` with what is wrong about it. */
export function parseSelector(text: string): Selector {
  if (text.length > MAX_SELECTOR_CHARS) {
    throw new KerntapError(
      'target.invalid',
      `The target has ${text.length} characters; ${MAX_SELECTOR_CHARS} are allowed.`,
    );
  }
  const [, word, rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? [];
  switch (word) {
    case undefined:
      return parsePath(text);
    case 'node':
      return { kind: 'node', name: checked(text, rest, NAME, 'a node is named by letters, digits, dots and dashes') };
    case 'pod':
      return { kind: 'uid', uid: checked(text, rest, UID, 'a pod is named by its namespace and name, or by its uid') };
    case 'container':
      return { kind: 'container', text: checked(text, bareId(rest), ID, 'a container is named by its id or its name') };
    case 'pid': {
      const pid = Number(checked(text, rest, /^[1-9]\d{0,6}$/, PID_RULE));
      if (pid > MAX_PID) throw invalid(text, PID_RULE);
      return { kind: 'pid', pid };
    }
    case 'cgroup':
      return { kind: 'cgroup', path: parseCgroup(text, rest) };
    case 'systemd':
      return { kind: 'systemd', unit: checked(text, rest, UNIT, 'a unit is named as systemctl shows it') };
    case 'ip':
      return { kind: 'ip', address: parseAddress(text, rest) };
    default:
      throw invalid(text, `"${word}:" is no kind of target`);
  }
}

// Kubernetes allows less, but pods that were made past its API have such names, too.
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;
/** Of a static pod it is a hash without dashes. */
const UID = /^[A-Za-z0-9][A-Za-z0-9-]{7,62}$/;
const UNIT = /^[A-Za-z0-9:_.\\@-]{1,255}$/;
const LABEL_KEY = /^(?:[A-Za-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;
const PID_RULE = `a pid is a number from 1 to ${MAX_PID}`;

function parsePath(text: string): Selector {
  if (text === 'node') return { kind: 'node' };
  if (/^t\d{1,9}$/.test(text)) return { kind: 'row', id: text };
  const slash = text.indexOf('/');
  if (slash < 0) throw invalid(text, 'a pod is named with its namespace');
  const namespace = checked(text, text.slice(0, slash), NAME, 'its namespace is not one');
  const rest = text.slice(slash + 1);

  const equals = rest.indexOf('=');
  if (equals >= 0) {
    return {
      kind: 'label',
      namespace,
      key: checked(text, rest.slice(0, equals), LABEL_KEY, 'the name of its label is not one'),
      value: checked(text, rest.slice(equals + 1), LABEL_VALUE, 'the value of its label is not one'),
    };
  }
  const colon = rest.indexOf(':');
  if (colon >= 0) {
    const owner = Object.entries(OWNERS).find(([word]) => word === rest.slice(0, colon).toLowerCase())?.[1];
    if (owner === undefined) throw invalid(text, `a workload is one of ${Object.keys(OWNERS).join(', ')}`);
    return { kind: 'owner', namespace, owner, name: checked(text, rest.slice(colon + 1), NAME, 'its name is not one') };
  }
  const [pod = '', container, ...more] = rest.split('/');
  if (more.length > 0) throw invalid(text, 'it has more parts than namespace, pod and container');
  checked(text, pod, NAME, "its pod's name is not one");
  if (container === undefined) return { kind: 'pod', namespace, pod };
  return { kind: 'pod', namespace, pod, container: checked(text, container, NAME, "its container's name is not one") };
}

function parseCgroup(text: string, path: string): string {
  if (!path.startsWith('/') || /[\0\n]/.test(path)) throw invalid(text, 'a cgroup is named as in /proc/PID/cgroup');
  const names = path.split('/').slice(1);
  if (names.at(-1) === '') names.pop();
  if (names.some((name) => name === '' || name === '.' || name === '..')) {
    throw invalid(text, 'a path of a cgroup has no empty parts, "." or ".."');
  }
  return `/${names.join('/')}`;
}

function parseAddress(text: string, given: string): string {
  const address = canonicalAddress(given.replace(/^\[(.*)\]$/, '$1'));
  if (address === undefined) throw invalid(text, 'an address is such as 10.0.3.7 or fd00::7');
  return address;
}

/** One spelling for each address: `fd00:0::07` as `fd00::7`, `::ffff:10.0.0.1` as `10.0.0.1`. Undefined for what is none. */
export function canonicalAddress(text: string): string | undefined {
  const family = text.includes('%') ? 0 : isIP(text);
  if (family !== 6) return family === 4 ? text : undefined;
  const spelled = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(spelled) ?? [];
  if (high === undefined || low === undefined) return spelled;
  return [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.');
}

/** Whether there is a form for workloads of this kind: a pod may also belong to a ReplicaSet alone, or to its node. */
export const isOwnerKind = (kind: string): boolean => Object.values<string>(OWNERS).includes(kind);

/** Whether `container:` takes it. */
export const isContainerText = (text: string): boolean => ID.test(text);

/** Whether `systemd:` takes it. */
export const isUnitText = (text: string): boolean => UNIT.test(text);

/** `containerd://ID` and Docker's `/name`, as other tools write them. */
const bareId = (text: string): string => text.replace(/^(?:[a-z-]+:\/\/|\/)/, '');

function checked(text: string, part: string, form: RegExp, rule: string): string {
  if (!form.test(part)) throw invalid(text, rule);
  return part;
}

const invalid = (text: string, rule: string) =>
  new KerntapError('target.invalid', `The target ${quoted(text)} cannot be read: ${rule}.`);

/** What a caller or the node named, short and on one line. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > 120 ? `${text.slice(0, 119)}…` : text).replace(
    /[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
