import { fork } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeCgroups } from '../helpers/cgroups.ts';
import { canTrace, projectRoot } from '../helpers/machine.ts';
import { startScript, traceScoped } from '../helpers/scoped-trace.ts';

const netnsOf = (pid: number) => statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino;

/** Brings the loopback of a new network namespace up: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING. */
const LOOPBACK = `use Socket; use Errno; socket(my $lo, AF_INET, SOCK_DGRAM, 0); my $up = pack('a16 s x22', 'lo', 0x43); ioctl($lo, 0x8914, $up) or die $!`;

/** A server of ours, outside of every target, which closes a connection when the other side did. */
async function startServer() {
  const server = createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

test.skipIf(!canTrace)(
  '100 state changes of 20 connections count by the sockets of the target, whatever runs then [needs root and BPF]',
  async () => {
    await using server = await startServer();
    // One after the other, each to its end: it closes first and waits until the server has closed, too.
    const script = `use Socket; my $to = sockaddr_in(${server.port}, inet_aton('127.0.0.1'));
      for (1..20) { socket(my $s, AF_INET, SOCK_STREAM, 0); connect($s, $to) or die $!; shutdown($s, 1); sysread($s, my $x, 1); close $s }`;
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startScript(script);
    await using foreign = await startScript(script);
    cgroups.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    const program = 'tracepoint:sock:inet_sock_set_state { @mine[args.oldstate, args.newstate] = count(); }';
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    await Promise.all([own.next(), foreign.next()]);
    const [close, synSent, established, finWait1, finWait2] = [7, 2, 1, 4, 5];
    expect((await trace.maps())['@mine']).toEqual({
      [`${close},${synSent}`]: 20,
      [`${synSent},${established}`]: 20,
      [`${established},${finWait1}`]: 20,
      [`${finWait1},${finWait2}`]: 20,
      [`${finWait2},${close}`]: 20,
    });
  },
);

/** Connects to a port whose queue is full: the first packet is repeated, then the connection times out. */
const timeOut = (count: number, port: number) => `
  for (1..${count}) {
    socket(my $s, AF_INET, SOCK_STREAM, 0); fcntl($s, Fcntl::F_SETFL(), Fcntl::O_NONBLOCK());
    connect($s, sockaddr_in(${port}, inet_aton('127.0.0.1'))); push @s, $s
  }
  for my $s (@s) {
    my $bits = ''; vec($bits, fileno $s, 1) = 1; select(undef, $bits, undef, undef);
    unpack('i', getsockopt($s, SOL_SOCKET, SO_ERROR)) == Errno::ETIMEDOUT() or die 'no time-out'
  }`;
const FULL_QUEUES = `
  open(my $f, '>', '/proc/sys/net/ipv4/tcp_syn_retries') or die $!; print $f 1; close $f;
  for my $port (7771, 7772) {
    my $at = sockaddr_in($port, inet_aton('127.0.0.1'));
    socket(my $l, AF_INET, SOCK_STREAM, 0); bind($l, $at) or die $!; listen($l, 0); push @queues, $l;
    socket(my $c, AF_INET, SOCK_STREAM, 0); connect($c, $at) or die $!; push @queues, $c
  }`;

test.skipIf(!canTrace)(
  'retransmits and 50 time-outs of connections count by the socket, in interrupts, and none of a neighbour in the same network namespace [needs root and BPF]',
  async () => {
    await using cgroups = makeCgroups(['pod', 'other']);
    const modules = 'use Socket; use Errno; use Fcntl';
    const script = `${modules}; ${LOOPBACK}; ${FULL_QUEUES}; pause; ${timeOut(50, 7771)}`;
    await using own = await startScript(script, ['unshare', '-n']);
    await own.next();
    const inside = ['nsenter', '-t', String(own.pid), '-n'];
    await using foreign = await startScript(`${modules}; ${timeOut(30, 7772)}`, inside);
    cgroups.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    const program = `
      tracepoint:tcp:tcp_retransmit_skb { @retransmits = count(); }
      tracepoint:sock:inet_sock_set_state /args.oldstate == 2 && args.newstate == 7/ { @timeouts = count(); }`;
    const target = { groups: [cgroups.group('pod')], netns: netnsOf(own.pid) };
    const truth = 'tracepoint:tcp:tcp_retransmit_skb /args.dport == 7771/ { @truth = count(); }';
    await using trace = await traceScoped(program, target, { truth });
    await Promise.all([own.next(), foreign.next()]);
    const maps = await trace.maps();
    expect(maps['@timeouts']).toBe(50);
    expect(maps['@truth']).toBeGreaterThanOrEqual(50);
    expect(maps['@retransmits']).toBe(maps['@truth']);
  },
);

test.skipIf(!canTrace)(
  'refused datagrams and connections without a socket count by the network namespace: 40 and 12 [needs root and BPF]',
  async () => {
    const script = `${LOOPBACK}; pause;
      my $to = sockaddr_in(7, inet_aton('127.0.0.1'));
      for (1..40) { socket(my $s, AF_INET, SOCK_DGRAM, 0); send($s, 'x', 0, $to) }
      for (1..12) { socket(my $s, AF_INET, SOCK_STREAM, 0); connect($s, $to) and die 'accepted' }`;
    await using cgroups = makeCgroups(['pod', 'other']);
    await using own = await startScript(script, ['unshare', '-n']);
    await using foreign = await startScript(script, ['unshare', '-n']);
    cgroups.enter('pod', own.pid);
    cgroups.enter('other', foreign.pid);
    await Promise.all([own.next(), foreign.next()]);
    const program = `
      tracepoint:skb:kfree_skb { @drops[args.reason] = count(); }
      tracepoint:tcp:tcp_send_reset { @resets = count(); }
      rawtracepoint:kfree_skb { @raw[args.reason] = count(); }`;
    const target = { groups: [cgroups.group('pod')], netns: netnsOf(own.pid) };
    await using trace = await traceScoped(program, target);
    await Promise.all([own.next(), foreign.next()]);
    const maps = await trace.maps();
    expect(maps['@drops']).toMatchObject({ SKB_DROP_REASON_NO_SOCKET: 52 });
    expect(maps['@raw']).toMatchObject({ SKB_DROP_REASON_NO_SOCKET: 52 });
    expect(maps['@resets']).toBe(12);
  },
);

test.skipIf(!canTrace)(
  'a socket that was passed to another process counts where it was made [needs root and BPF]',
  async () => {
    await using server = await startServer();
    await using cgroups = makeCgroups(['pod']);
    const child = fork(join(projectRoot, 'test/fixtures/pass-socket.mjs'), [String(server.port)]);
    await once(child, 'message');
    cgroups.enter('pod', child.pid ?? 0);
    const program = 'tracepoint:sock:inet_sock_set_state /args.oldstate == 1/ { @closed = count(); }';
    await using trace = await traceScoped(program, { groups: [cgroups.group('pod')] });
    const passed = once(child, 'message') as Promise<[string, Socket]>;
    child.send('connect');
    const [, socket] = await passed;
    // The one who made it is gone, and its end is brought about by us, who are not the target.
    child.disconnect();
    await once(child, 'exit');
    socket.resume().end();
    await once(socket, 'close');
    await wait(50);
    expect(await trace.maps()).toEqual({ '@closed': 1 });
  },
);
