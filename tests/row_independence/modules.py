"""The torch modules that are exported: small ones of the kinds that people serve."""

import torch
from torch import Tensor, nn

WORDS, WIDTH = 40, 16
"""The token ids there are; the elements of a hidden vector."""


class Bert(nn.Module):
    """Token and position embeddings, an encoder that leaves out masked tokens, a pooled class."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(32, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.first, self.second = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        rows, length = input_ids.shape
        places = torch.arange(length).unsqueeze(0).expand(rows, -1)
        hidden = self.norm(self.words(input_ids) + self.positions(places))
        bias = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        heads = [part(hidden).view(rows, length, 2, -1).transpose(1, 2) for part in (self.query, self.key, self.value)]
        scores = heads[0] @ heads[1].transpose(-1, -2) / 8**0.5 + bias
        mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(rows, length, WIDTH)
        hidden = self.norm(hidden + self.second(nn.functional.gelu(self.first(mixed))))
        return hidden, self.head(torch.tanh(hidden[:, 0]))


class Gpt(nn.Module):
    """A decoder whose tokens look at those before; the logits of the last token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(32, WIDTH)
        self.attend, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        rows, length = input_ids.shape
        hidden = self.words(input_ids) + self.positions(torch.arange(length))
        query, key, value = (
            part.view(rows, length, 4, -1).transpose(1, 2) for part in self.attend(self.norm(hidden)).split(WIDTH, 2)
        )
        seen = torch.ones(length, length, dtype=torch.bool).tril()
        scores = (query @ key.transpose(-1, -2) / 2).masked_fill(~seen, float("-inf"))
        hidden = hidden + self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(rows, length, WIDTH))
        return self.head(hidden[:, -1])


class Residual(nn.Module):
    """Convolutions with batch normalisation and a shortcut, pooled over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(size, 8, 3, padding=1) for size in (3, 8, 8))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = nn.functional.max_pool2d(self.norms[0](self.stem(image)).relu(), 3, 2, 1)
        branch = self.norms[2](self.two(self.norms[1](self.one(hidden)).relu()))
        return self.head(torch.flatten(nn.functional.adaptive_avg_pool2d((hidden + branch).relu(), 1), 1))


class Unet(nn.Module):
    """Down and up again, by interpolation to the size that was, beside what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down, self.middle = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1), nn.GroupNorm(2, 8)
        self.up, self.leave = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        wide = self.enter(image).relu()
        deep = self.up(self.middle(self.down(wide)).relu())
        fitted = nn.functional.interpolate(deep, size=wide.shape[-2:], mode="bilinear", align_corners=False)
        return self.leave(torch.cat([wide, fitted], 1)).sigmoid()


class Recurrent(nn.Module):
    """Two directions over time, from a state of zeros; the rows first."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        every, _ = self.steps(sequence)
        return every, self.head(every[:, -1, :])


class TimeFirst(nn.Module):
    """The same with time on the first axis and the rows on the second."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.GRU(6, 5), nn.Linear(5, 3)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.steps(sequence)[0])


class Mel(nn.Module):
    """Log-mel features of audio, normalised within each recording."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.register_buffer("bank", torch.rand(17, 6))

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(audio, 32, 16, window=self.window, center=False, return_complex=False)
        power = spectrum.pow(2).sum(-1)
        features = torch.log(torch.clamp(power.transpose(1, 2) @ self.bank, min=1e-6))
        return features - features.mean(dim=1, keepdim=True)


class Encoder(nn.Module):
    """Torch's own encoder layers, which fold rows and time together; the exporter keeps the length it has seen."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.encoder(vectors)


class Translator(nn.Module):
    """Torch's own attention, over vectors of which both the number of rows and the length are free."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, vectors: Tensor) -> Tensor:
        heads = [part(vectors).unflatten(-1, (4, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)]
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.norm(vectors + self.out(attended.transpose(1, 2).flatten(2)))


class Speaker(nn.Module):
    """Text to a waveform: predicted durations stretch the tokens, so the longest of all rows decides the length."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.duration = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 1)
        self.flow, self.wave = nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.ConvTranspose1d(WIDTH, 1, 4, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.words(tokens)
        ends = torch.cumsum(torch.ceil(torch.exp(self.duration(hidden).squeeze(-1))), 1)
        frames = torch.arange(int(ends[:, -1].max()) if not torch.jit.is_tracing() else ends[:, -1].max().long())
        before = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
        path = (frames[None, :, None] < ends[:, None, :]) & (frames[None, :, None] >= before[:, None, :])
        stretched = (path.float() @ hidden).transpose(1, 2)
        audio = torch.tanh(self.wave(self.flow(stretched))).squeeze(1)
        return audio / audio.abs().amax(1, keepdim=True).clamp(min=1e-3)
