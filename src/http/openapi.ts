import type * as z from 'zod';
import { createDocument, type ZodOpenApiOperationObject } from 'zod-openapi';
import {
  ChangeBody,
  CheckBody,
  CheckWire,
  ErrorWire,
  FactsParams,
  FactsWire,
  ProbesParams,
  ProbesWire,
  ProgressWire,
  RecordWire,
  ResultParams,
  RunBody,
  RunPath,
  RunsParams,
  RunsWire,
  RunWire,
  TargetsParams,
  TargetsWire,
} from '../cluster/wire.ts';

type Request = Pick<ZodOpenApiOperationObject, 'requestBody' | 'requestParams'>;
type Content = Record<string, { schema: z.ZodType | { type: 'string' | 'object' } }>;

const json = (schema: z.ZodType): Content => ({ 'application/json': { schema } });
const body = (schema: z.ZodType): Request => ({ requestBody: { required: true, content: json(schema) } });

/** An operation answers 200 in one form, or an error in the one form that there is. */
const operation = (
  operationId: string,
  summary: string,
  request: Request,
  content: Content,
): ZodOpenApiOperationObject => ({
  operationId,
  summary,
  ...request,
  responses: {
    200: { description: summary, content },
    default: { description: 'What went wrong, and what to do about it', content: json(ErrorWire) },
  },
});

const EVENTS = '`progress` events (Progress), then one `result` (RunRecord) or `error` (Error); each a line of JSON';

const PATHS = {
  '/v1/runs': {
    post: operation('run', 'Run a program, and wait for it', body(RunBody), {
      ...json(RecordWire),
      'text/event-stream': { schema: { type: 'string' } },
    }),
    get: operation(
      'runs',
      'List the runs that the caller may read',
      { requestParams: { query: RunsParams } },
      json(RunsWire),
    ),
  },
  '/v1/runs/{id}': {
    get: operation('result', 'Read a run', { requestParams: { path: RunPath, query: ResultParams } }, json(RecordWire)),
    patch: operation(
      'change',
      'Keep or rename a run',
      { requestParams: { path: RunPath }, ...body(ChangeBody) },
      json(RunWire),
    ),
    delete: operation('delete', 'Delete a run that is over', { requestParams: { path: RunPath } }, json(RunWire)),
  },
  '/v1/runs/{id}/stop': {
    post: operation(
      'stop',
      'Stop a run, and read what it collected',
      { requestParams: { path: RunPath } },
      json(RecordWire),
    ),
  },
  '/v1/check': {
    post: operation('check', 'Compile a program without attaching it', body(CheckBody), json(CheckWire)),
  },
  '/v1/targets': {
    get: operation(
      'targets',
      'List pods, containers and services that can be traced',
      { requestParams: { query: TargetsParams } },
      json(TargetsWire),
    ),
  },
  '/v1/probes': {
    get: operation(
      'probes',
      'Find probes, or the fields of a struct',
      { requestParams: { query: ProbesParams } },
      json(ProbesWire),
    ),
  },
  '/v1/facts': {
    get: operation('facts', 'What this node can do', { requestParams: { query: FactsParams } }, json(FactsWire)),
  },
  '/v1/openapi.json': {
    get: operation('openapi', 'This document', {}, { 'application/json': { schema: { type: 'object' } } }),
  },
};

/** The OpenAPI 3.1 document of /v1, made from the types that the server reads and writes. */
export function createOpenApi(version: string) {
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'kerntap',
      version,
      description: `Ask the Linux kernel in bpftrace. A run that is asked for as text/event-stream answers ${EVENTS}.`,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{}, { token: [] }],
    paths: PATHS,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: { Progress: ProgressWire },
    },
  });
}
