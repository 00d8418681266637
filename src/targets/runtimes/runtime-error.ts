/** Why a runtime does not tell what it runs, as a sentence of ours; `cause` is what it said itself. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
}
