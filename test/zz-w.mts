const { JinaEmbeddings } = await import('../src/platform/node.ts');
const t0=performance.now();
const j = await JinaEmbeddings.load('/tmp/ckpt-published', {device:'wasm', residence:'streamed'});
const t=performance.now();
const v = await j.encodeText('hello world', {task:'retrieval'});
console.log('wasm streamed load', ((t-t0)/1000).toFixed(1), 'first', ((performance.now()-t)/1000).toFixed(1), [...v.slice(0,4)], process.resourceUsage().maxRSS/1e6);
j.dispose();
