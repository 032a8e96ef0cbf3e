export { AdamW, type AdamWOptions } from './adamw.ts';
export { checkpointTensors } from './checkpoint-tensors.ts';
export { EpochSampler } from './epoch-sampler.ts';
export {
  batchOf,
  type Example,
  type ExampleSource,
  type LossChoice,
  type LossKind,
  type PairExample,
} from './examples.ts';
export type { TrainBatch } from './gradients.ts';
export { type LoraOptions, type LoraTrainable, loraVariables } from './lora-variables.ts';
export { type CoSentOptions, coSent } from './losses/co-sent.ts';
export { type DistillScoresOptions, distillScores, distillVectors } from './losses/distillation.ts';
export { type InfoNceOptions, infoNce } from './losses/info-nce.ts';
export type { Loss } from './losses/loss.ts';
export type { Scorer, Side, Views } from './losses/side.ts';
export { type TripletOptions, triplet } from './losses/triplet.ts';
export { exampleSource, type PrepareOptions } from './prepare-examples.ts';
export { Random } from './random.ts';
export { checkSameKind, type ExampleRecord, type PairRecord, parseExample } from './records.ts';
export { encodeRun, restoreRun } from './run-state.ts';
export { constantRate, type Schedule, warmupCosine } from './schedule.ts';
export type { ScoredDocuments, TaughtVector } from './taught-batch.ts';
export {
  type ScoredDocumentsRecord,
  sizesToLearn,
  type TaughtVectorRecord,
  type TeacherRecord,
} from './teacher-records.ts';
export {
  type TrainedAdapter,
  type TrainedModel,
  type TrainOptions,
  type TrainReport,
  trainAdapter,
} from './train-adapter.ts';
export type { TrainInput } from './train-input.ts';
export { createTrainer, type StepReport, type Trainer, type TrainerOptions } from './trainer.ts';
export type { Trainable } from './variables.ts';
export { freshVariables, type WeightsTrainable, weightVariables } from './weight-variables.ts';
