/** Something that can be expected to go wrong: told in its one sentence, without a stack. */
export class Fault extends Error {}
