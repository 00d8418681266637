const text = (id: number) => ({ type: 'string', id });
const texts = (id: number) => ({ keyType: 'string', type: 'string', id });
const message = (type: string, id: number) => ({ type, id });
const messages = (type: string, id: number) => ({ rule: 'repeated', type, id });
const method = (name: string) => ({ requestType: `${name}Request`, responseType: `${name}Response`, comment: '' });

const V1 = {
  RuntimeService: {
    methods: {
      Version: method('Version'),
      ListPodSandbox: method('ListPodSandbox'),
      ListContainers: method('ListContainers'),
      ContainerStatus: method('ContainerStatus'),
    },
  },
  VersionRequest: { fields: {} },
  VersionResponse: { fields: { runtime_name: text(2) } },
  ListPodSandboxRequest: { fields: {} },
  ListPodSandboxResponse: { fields: { items: messages('PodSandbox', 1) } },
  PodSandbox: {
    fields: { id: text(1), metadata: message('PodSandboxMetadata', 2), labels: texts(5), runtime_handler: text(7) },
  },
  PodSandboxMetadata: { fields: { name: text(1), uid: text(2), namespace: text(3) } },
  ListContainersRequest: { fields: {} },
  ListContainersResponse: { fields: { containers: messages('Container', 1) } },
  Container: {
    fields: {
      id: text(1),
      pod_sandbox_id: text(2),
      metadata: message('ContainerMetadata', 3),
      image: message('ImageSpec', 4),
      state: message('ContainerState', 6),
      labels: texts(8),
    },
  },
  ContainerMetadata: { fields: { name: text(1) } },
  ImageSpec: { fields: { image: text(1), user_specified_image: text(18) } },
  ContainerState: {
    values: { CONTAINER_CREATED: 0, CONTAINER_RUNNING: 1, CONTAINER_EXITED: 2, CONTAINER_UNKNOWN: 3 },
  },
  ContainerStatusRequest: { fields: { container_id: text(1), verbose: { type: 'bool', id: 2 } } },
  ContainerStatusResponse: { fields: { status: message('ContainerStatus', 1), info: texts(2) } },
  ContainerStatus: { fields: { started_at: { type: 'int64', id: 5 } } },
};

/**
 * What kerntap asks of the Container Runtime Interface v1, with the field numbers of k8s.io/cri-api, in protobuf.js's own
 * form: no .proto file has to be found beside the built modules.
 */
export const CRI = { nested: { runtime: { nested: { v1: { nested: V1 } } } } };

/** The same for the compiler. A text that is absent on the wire is empty here, an absent message is null. */
export interface Methods {
  readonly Version: { readonly request: object; readonly answer: { readonly runtime_name: string } };
  readonly ListPodSandbox: { readonly request: object; readonly answer: { readonly items: readonly PodSandbox[] } };
  readonly ListContainers: {
    readonly request: object;
    readonly answer: { readonly containers: readonly CriContainer[] };
  };
  readonly ContainerStatus: {
    readonly request: { readonly container_id: string; readonly verbose: boolean };
    readonly answer: {
      /** `started_at` is nanoseconds since 1970. */
      readonly status: { readonly started_at: string } | null;
      readonly info: Readonly<Record<string, string>>;
    };
  };
}
export interface PodSandbox {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string } | null;
  /** Those of the pod. */
  readonly labels: Readonly<Record<string, string>>;
  readonly runtime_handler: string;
}
export interface CriContainer {
  readonly id: string;
  readonly pod_sandbox_id: string;
  readonly metadata: { readonly name: string } | null;
  readonly image: { readonly image: string; readonly user_specified_image: string } | null;
  /** A number where the runtime knows more states than v1. */
  readonly state: keyof typeof V1.ContainerState.values | number;
  readonly labels: Readonly<Record<string, string>>;
}
