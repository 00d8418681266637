export type Qos = 'guaranteed' | 'burstable' | 'besteffort';

/**
 * How kubelet and runtime name cgroups: both by systemd's driver, both by cgroupfs, or `mixed`, kubelet by the former and
 * the runtime by the latter.
 */
export type Driver = 'systemd' | 'cgroupfs' | 'mixed';

/** `a-b.slice` lies in `a.slice` (systemd.slice(5)): its path is `/a.slice/a-b.slice`. */
export function slicesOf(slice: string): string {
  const parts = slice.replace(/\.slice$/, '').split('-');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('');
}

/** The cgroup that a kubelet makes for a pod, which it gives to the runtime as the parent of its containers. */
export function podCgroup(uid: string, qos: Qos, driver: Driver): string {
  const level = qos === 'guaranteed' ? [] : [qos];
  return driver === 'cgroupfs'
    ? `/${['kubepods', ...level, `pod${uid}`].join('/')}`
    : slicesOf(['kubepods', ...level, `pod${uid.replaceAll('-', '_')}`].join('-'));
}
