// Something that can be expected to go wrong is told in its one sentence, without a stack, here as in the other scripts.
export { Failure as Fault } from "../scripts/run.mjs";
