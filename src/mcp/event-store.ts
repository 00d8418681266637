import {
  type EventStore,
  isJSONRPCErrorResponse,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
  type RequestId,
} from '@modelcontextprotocol/server';

export interface EventStoreOptions {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Told of each request that has got its answer. */
  readonly answered: (id: RequestId) => void;
}

interface StoredEvent {
  readonly id: string;
  readonly stream: string;
  readonly message: JSONRPCMessage;
  readonly bytes: number;
}

const SEPARATOR = '::';

/** Keeps the latest events of one session, so that a client whose socket was cut reads on where it was. */
export function createEventStore({ maxEvents, maxBytes, answered }: EventStoreOptions): EventStore {
  const events: StoredEvent[] = [];
  let bytes = 0;
  let count = 0;
  const streamOf = (id: string) => id.split(SEPARATOR)[0] ?? id;

  return {
    async storeEvent(stream, message) {
      const isAnswer = isJSONRPCResultResponse(message) || isJSONRPCErrorResponse(message);
      if (isAnswer && message.id !== undefined) answered(message.id);
      count += 1;
      const event: StoredEvent = {
        id: `${stream}${SEPARATOR}${String(count).padStart(12, '0')}`, // padded: ids are compared as text
        stream,
        message,
        bytes: JSON.stringify(message).length,
      };
      events.push(event);
      bytes += event.bytes;
      while (events.length > maxEvents || bytes > maxBytes) bytes -= events.shift()?.bytes ?? 0;
      return event.id;
    },
    async getStreamIdForEventId(id) {
      return streamOf(id);
    },
    async replayEventsAfter(lastId, { send }) {
      const stream = streamOf(lastId);
      for (const event of events.filter((it) => it.stream === stream && it.id > lastId)) {
        // {} is the event that primes a stream: it has only an id.
        if (Object.keys(event.message).length > 0) await send(event.id, event.message);
      }
      return stream;
    },
  };
}
