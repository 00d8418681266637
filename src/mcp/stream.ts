export interface StreamWatcher {
  /** The reader has taken `bytes` more. */
  readonly taken?: (bytes: number) => void;
  /** Called once: the stream has ended, or `cut` by its reader before its end. */
  readonly ended?: (how: 'complete' | 'cut') => void;
}

export const isEventStream = (response: Response): boolean =>
  response.body !== null && (response.headers.get('content-type')?.startsWith('text/event-stream') ?? false);

/** Passes an event stream on and tells `watcher` what its reader does; any other response is passed on as it is. */
export function watchStream(response: Response, { taken, ended }: StreamWatcher): Response {
  if (response.body === null || !isEventStream(response)) return response;
  const reader = response.body.getReader();
  let open = true;
  const end = (how: 'complete' | 'cut') => {
    if (open) ended?.(how);
    open = false;
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            end('complete');
            return controller.close();
          }
          taken?.(value.byteLength);
          controller.enqueue(value);
        } catch (error) {
          end('cut');
          throw error;
        }
      },
      cancel(reason) {
        end('cut');
        return reader.cancel(reason);
      },
    },
    // 0: ask the SDK's stream for more only when the socket wants more, or taken bytes would not be bytes on the wire.
    { highWaterMark: 0 },
  );
  return new Response(body, { status: response.status, headers: response.headers });
}
