import { type Answer, type Job, runJob } from './job.ts';

/** What the page offers: the same job here and in a worker. */
export type PageJobs = { here(job: Job): Promise<Answer>; inWorker(job: Job): Promise<Answer> };

const jobs: PageJobs = {
  here: runJob,
  inWorker: (job) => {
    const worker = new Worker('/worker.js', { type: 'module' });
    const answer = new Promise<Answer>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<{ answer: Answer } | { error: string }>) =>
        'answer' in data ? resolve(data.answer) : reject(new Error(data.error));
      worker.onerror = ({ message }) => reject(new Error(message));
    });
    worker.postMessage(job);
    return answer.finally(() => worker.terminate());
  },
};

Object.assign(globalThis, { jobs });
