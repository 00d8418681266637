import { join } from 'node:path';
import { Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

type Message = Readonly<Record<string, unknown>>;

/** Makes pods as a kubelet does, by the Container Runtime Interface; requests and answers are messages of cri-driver.proto. */
export interface CriDriver {
  call<Answer = Message>(method: string, request: Message): Promise<Answer>;
  close(): void;
}

const PROTO = join(import.meta.dirname, 'cri-driver.proto');

export function createCriDriver(socket: string): CriDriver {
  const definition = loadSync(PROTO, { keepCase: true, enums: String, defaults: true });
  const { runtime } = loadPackageDefinition(definition) as unknown as {
    runtime: { v1: { RuntimeService: ServiceClientConstructor } };
  };
  const { RuntimeService } = runtime.v1;
  // By default grpc-js names the socket's path as the authority, which the HTTP/2 of Go refuses.
  const options = { 'grpc.default_authority': 'localhost' };
  const client = new Client(`unix://${socket}`, credentials.createInsecure(), options);
  return {
    call<Answer>(method: string, request: Message) {
      const { path, requestSerialize, responseDeserialize } = RuntimeService.service[method] ?? {};
      if (!path || !requestSerialize || !responseDeserialize) throw new Error(`cri-driver.proto has no ${method}`);
      return new Promise<Answer>((resolve, reject) => {
        const deadline = { deadline: Date.now() + 120_000 };
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, deadline, (error, answer) => {
          if (error) reject(error);
          else resolve(answer as Answer);
        });
      });
    },
    close: () => client.close(),
  };
}
