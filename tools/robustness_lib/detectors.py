"""Who tests the edited texts: watermark-detect, and transformers' own detectors. Each gives log10 of the p-value that it claims, one a text; None where it gives none."""
import json
import math
import os
import subprocess

import texts as made


def write_records(path, edited):
    """The texts, or token ids, as JSON lines; the ids of the records are their numbers."""
    with open(path, "w") as f:
        for i, text in enumerate(edited):
            f.write(json.dumps({"id": str(i), "text" if isinstance(text, str) else "token_ids": text}) + "\n")


class Ours:
    """watermark-detect over all texts of one edit."""

    def __init__(self, binary, folder, what):
        self.binary, self.folder, self.what = binary, folder, what  # what: the options that name the key, or the format

    @classmethod
    def of_epoch(cls, binary, folder, epoch, *more):
        _, passphrase = made.open_keys(folder)
        return cls(binary, folder, ["--keystore", os.path.join(folder, "keys.cmks"), "--passphrase-file", passphrase, "--epoch", epoch, *more])

    @classmethod
    def of_format(cls, binary, folder, name, config):
        path = os.path.join(folder, name + ".json")
        with open(path, "w") as f:
            json.dump(dict(config, vocab_size=made.VOCABULARY), f)
        return cls(binary, folder, ["--format", name, "--format-config", path])

    def lines(self, edited):
        path = os.path.join(self.folder, f"edited-{os.getpid()}.jsonl")
        write_records(path, edited)
        ids = not isinstance(edited[0], str)
        command = [self.binary, path, *self.what, "--tokenizer", made.tokenizer_file(), "--jsonl", "--no-progress", "--threads", "1", "--min-coverage", "0"]
        command += ["--token-ids-field", "token_ids"] if ids else ["--text-field", "text"]
        done = subprocess.run(command, capture_output=True, text=True)
        os.remove(path)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{done.stderr[-2000:]}\nrobustness: error: watermark-detect ended with {done.returncode}")
        found = {line["id"]: line for line in map(json.loads, done.stdout.splitlines())}
        return [found[str(i)] for i in range(len(edited))]

    def __call__(self, edited):
        return [line.get("log10_p") for line in self.lines(edited)]


def ids_of(tokenizer, edited):
    return [text if not isinstance(text, str) else tokenizer.encode(text, add_special_tokens=False).ids for text in edited]


def log10(p):
    return -math.inf if p <= 0 else math.log10(p)


class TheirKgw:
    """transformers.WatermarkDetector, as it comes: the p-value that it states. Its cache finds nothing again and grows, as it looks for tensors by their identity: in its place stands one of green lists by
    the previous token, with the same answers."""

    def __init__(self):
        import tokenizers
        import transformers
        model = transformers.PretrainedConfig()
        model.vocab_size, model.bos_token_id = made.VOCABULARY, 1
        self.detector = transformers.WatermarkDetector(model_config=model, device="cpu", watermarking_config=transformers.WatermarkingConfig(**made.KGW))
        self.green = {}
        self.detector._get_ngram_score_cached = self.score
        self.tokenizer = tokenizers.Tokenizer.from_file(made.tokenizer_file())

    def score(self, prefix, target):
        import numpy
        previous = int(prefix[-1])
        if previous not in self.green:
            green = numpy.zeros(made.VOCABULARY, dtype=bool)
            green[self.detector.processor._get_greenlist_ids(prefix).numpy()] = True
            self.green[previous] = numpy.packbits(green)
        return bool(self.green[previous][target >> 3] >> (7 - (target & 7)) & 1)

    def __call__(self, edited):
        import torch
        out = []
        for ids in ids_of(self.tokenizer, edited):
            try:
                out.append(log10(float(self.detector(torch.tensor([ids]), return_dict=True).p_value[0])))
            except ValueError:  # too short for it
                out.append(None)
        return out


class TheirSynthId:
    """transformers.SynthIDTextWatermarkDetector with a Bayesian detector; it states a posterior, and 1 less that is taken for its p. Such a detector is a model: here two are trained, each on
    every second answer marked and unmarked, and each tests the answers that it has not seen. And the mean of the g-values, as SynthID's authors describe it, with the normal law's p."""

    def __init__(self, folder):
        import tokenizers
        import torch
        from transformers import SynthIDTextWatermarkLogitsProcessor
        torch.set_num_threads(1)
        self.tokenizer = tokenizers.Tokenizer.from_file(made.tokenizer_file())
        self.processor = SynthIDTextWatermarkLogitsProcessor(device=torch.device("cpu"), **made.SYNTHID)
        sets = [[a["token_ids"] for a in made.read(folder, name)] for name in ("hf-synthid", "unmarked")]
        self.modules = [self.train([ids[1 - half::2] for ids in sets]) for half in range(2)]  # for the answers half, half + 2, …

    def features(self, ids):
        import torch
        ids = torch.tensor(ids)
        return self.processor.compute_g_values(ids), self.processor.compute_context_repetition_mask(ids)

    def train(self, sets):
        """As transformers' example does: Adam on the module's own loss; the weight of its penalty by what held-out texts say."""
        import torch
        from transformers import BayesianDetectorConfig, BayesianDetectorModel
        both = [self.features(ids) for ids in sets]
        held = len(sets[0]) // 4

        def part(cut):
            g = torch.cat([values[cut] for values, _ in both]).float()
            mask = torch.cat([mask[cut] for _, mask in both])
            labels = torch.cat([torch.full((len(mask[cut]),), label) for label, (_, mask) in zip((1.0, 0.0), both)])
            return g, mask, labels

        learn, check = part(slice(held, None)), part(slice(held))
        best = None
        for weight in (0.0, 1e-3, 1e-2, 1e-1):
            torch.manual_seed(0)
            module = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=len(made.SYNTHID["keys"])))
            optimizer = torch.optim.Adam(module.parameters(), lr=2e-2)
            for _ in range(40):
                optimizer.zero_grad()
                module(*learn, loss_batch_weight=weight)[1].backward()
                optimizer.step()
            with torch.inference_mode():
                loss = float(torch.nn.functional.binary_cross_entropy(module(*check[:2])[0].clamp(1e-5, 1 - 1e-5), check[2]))
            if best is None or loss < best[0]:
                best = (loss, module)
        return best[1]

    def both(self, edited):
        import torch
        posterior, mean = [], []
        with torch.inference_mode():
            for i, ids in enumerate(ids_of(self.tokenizer, edited)):
                if len(ids) < self.processor.ngram_len:
                    posterior.append(None)
                    mean.append(None)
                    continue
                g, mask = self.features([ids])
                # log(1 - sigmoid(x)), x the log odds, without the rounding of 1 - 0.9999999
                m = self.modules[i % 2]
                likelihood = m.likelihood_model_watermarked(g.float())
                likelihood = likelihood if likelihood.dim() == 3 else likelihood[None]
                prior = m.prior.clamp(1e-5, 1 - 1e-5).double()
                odds = float(((likelihood.double().clamp(min=1e-30).log() - math.log(0.5)) * mask[..., None]).sum() + prior.log() - (1 - prior).log())
                posterior.append(-(max(odds, 0) + math.log1p(math.exp(-abs(odds)))) / math.log(10))
                n = int(mask.sum()) * g.shape[-1]
                z = (2 * float((g * mask[..., None]).sum()) - n) / math.sqrt(n) if n else 0.0
                mean.append(log10(0.5 * math.erfc(z / math.sqrt(2))))
        return posterior, mean
