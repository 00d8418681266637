/** The folder in which the person is who calls: npm changes to that of the package before it runs a script. */
export const callerFolder = (): string =>
  (process.env.npm_lifecycle_event === 'kerntap' && process.env.INIT_CWD) || process.cwd();
