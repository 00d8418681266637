/** JSON-RPC's own code for a body that cannot be read; what HTTP refuses for other reasons is `SERVER_ERROR`. */
export const PARSE_ERROR = -32_700;
export const SERVER_ERROR = -32_000;
/** What SDK clients take as the sign to initialize again. */
export const SESSION_NOT_FOUND = -32_001;

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** The body of a JSON-RPC error; `id` is null where the request's own is not known. */
export const rpcErrorBody = (error: RpcError, id: string | number | null = null) => ({
  jsonrpc: '2.0' as const,
  error,
  id,
});

/** The id to which an answer to `body` belongs; null for anything but a single request. */
export function rpcIdOf(body: unknown): string | number | null {
  if (typeof body !== 'object' || body === null || !('id' in body)) return null;
  return typeof body.id === 'string' || typeof body.id === 'number' ? body.id : null;
}
