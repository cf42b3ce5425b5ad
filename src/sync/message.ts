/** Bytes that every message of this version begins with. */
const MAGIC = 0x31534e42; // "BNS1"

export const ALL = 0xffffffff;

/** What a message says. */
export const Kind = {
  /** I am this rank of a group of this size; `session` is whom I have met, 0 while somebody is missing. */
  hello: 1,
  /** Your rank is mine, or my group has another size: `code`. */
  clash: 2,
  /** A chunk of my part of a round. */
  part: 3,
  /** Send me your part of a round. */
  want: 4,
  /** Are you there? */
  ping: 5,
  /** I am here, and that far. */
  status: 6,
  /** I go: `code` says why. */
  leave: 7,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Sender and state, in front of every message. */
export interface Header {
  readonly kind: Kind;
  readonly rank: number;
  /** A rank, or {@link ALL}. */
  readonly to: number;
  /** Of the sending communicator, drawn at random when it was made. */
  readonly id: bigint;
  /** Of all the group's ids; 0 before they are known. */
  readonly session: bigint;
  /** The round that it is about. */
  readonly round: number;
  /** Every round below this is complete at the sender. */
  readonly done: number;
  /** The sender has contributed to every round below this. */
  readonly next: number;
}

/** A decoded message. Fields that its kind does not use are empty. */
export interface Message extends Header {
  /** hello, clash: the group's size. leave: 0 at the end of the work, else the kind of failure. */
  readonly code: number;
  /** part: its tag. leave: the reason. */
  readonly text: string;
  /** clash, and leave for a failure: the id of whom it is for, who may be long gone. */
  readonly other: bigint;
  /** part: bytes of the whole part, where this chunk begins, and the hash of the whole. */
  readonly bytes: number;
  readonly offset: number;
  readonly hash: number;
  /** part: the chunk. leave: the ranks that it is about, as u32. */
  readonly payload: Uint8Array;
}

/** 10 words of 32 bits, 3 counters as f64 (a u32 would be used up in weeks), 3 ids of 64 bits. */
export const HEADER_BYTES = 88;

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
// A byte order mark is a character like others.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A text as it arrives: half a surrogate pair has no bytes in UTF-8. */
export function carried(text: string): string {
  return decoder.decode(encoder.encode(text));
}

export function encode(
  header: Header,
  rest: Partial<Omit<Message, keyof Header>> = {},
): Uint8Array<ArrayBuffer> {
  const text = encoder.encode(rest.text ?? "");
  const payload = rest.payload ?? NOTHING;
  const message = new Uint8Array(HEADER_BYTES + text.length + payload.length);
  const view = new DataView(message.buffer);
  const words = [MAGIC, header.kind, header.rank, header.to, rest.code ?? 0, text.length];
  words.push(rest.bytes ?? 0, rest.offset ?? 0, rest.hash ?? 0, payload.length);
  words.forEach((word, index) => view.setUint32(4 * index, word, true));
  [header.round, header.done, header.next].forEach((count, index) =>
    view.setFloat64(40 + 8 * index, count, true),
  );
  [header.id, header.session, rest.other ?? 0n].forEach((id, index) =>
    view.setBigUint64(64 + 8 * index, id, true),
  );
  message.set(text, HEADER_BYTES);
  message.set(payload, HEADER_BYTES + text.length);
  return message;
}

/** The message that these bytes are; null where they are none of ours. */
export function decode(bytes: Uint8Array): Message | null {
  if (bytes.length < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): number => view.getUint32(4 * index, true);
  if (word(0) !== MAGIC) return null;
  const textEnd = HEADER_BYTES + word(5);
  if (bytes.length !== textEnd + word(9)) return null;
  // The ranks of a farewell are whole words.
  if (word(1) === Kind.leave && word(9) % 4 !== 0) return null;
  const [round, done, next] = [40, 48, 56].map((at) => view.getFloat64(at, true)) as Three<number>;
  const [id, session, other] = [64, 72, 80].map((at) =>
    view.getBigUint64(at, true),
  ) as Three<bigint>;
  return {
    kind: word(1) as Kind,
    rank: word(2),
    to: word(3),
    round,
    done,
    next,
    id,
    session,
    other,
    code: word(4),
    bytes: word(6),
    offset: word(7),
    hash: word(8),
    text: decoder.decode(bytes.subarray(HEADER_BYTES, textEnd)),
    payload: bytes.subarray(textEnd),
  };
}

type Three<T> = [T, T, T];

/** 32 bits of bytes: FNV-1a's steps, with a last mix. */
export function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  // By index: an iterator takes ten times as long.
  for (let i = 0; i < bytes.length; i += 1) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** 64 random bits, never 0. */
export function randomId(): bigint {
  const [word = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  return word || 1n;
}

/** One number for these ids in this order, never 0. */
export function sessionOf(ids: readonly bigint[]): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const id of ids) {
    for (let shift = 0n; shift < 64n; shift += 8n) {
      hash = BigInt.asUintN(64, (hash ^ ((id >> shift) & 0xffn)) * 0x100000001b3n);
    }
  }
  return hash || 1n;
}
