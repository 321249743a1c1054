// Ollama's list of models → OpenAI's, in nginx. Date of njs does not parse offsets, so this script does.

const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))$/;

function epoch(text) {
  const t = TIME.exec(text);
  if (t === null) {
    return Math.floor(Date.now() / 1000);
  }
  const utc = Date.UTC(+t[1], t[2] - 1, +t[3], +t[4], +t[5], +t[6]) / 1000;
  if (t[7] === undefined) {
    return utc;
  }
  const offset = t[8] * 3600 + t[9] * 60;
  return t[7] === '+' ? utc - offset : utc + offset;
}

async function models(r) {
  const response = await r.subrequest('/upstream/tags');
  if (response.status !== 200) {
    r.return(502);
    return;
  }
  const data = JSON.parse(response.responseText).models.map(m => ({
    id: m.name,
    object: 'model',
    created: epoch(m.modified_at),
    owned_by: 'ollama',
  }));
  r.headersOut['Content-Type'] = 'application/json';
  r.return(200, JSON.stringify({ object: 'list', data: data }));
}

export default { models };
